#include "cpython/tasks/trio_waits.h"

#include <algorithm>
#include <array>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "cpython/objects/objects.h"
#include "cpython/objects/set_objects.h"
#include "cpython/objects/typed_values.h"
#include "cpython/tasks/library_files.h"

namespace pystack::cpython {

namespace {

using Kind = model::TaskWaitKind;

constexpr int kMostBases = 16;
constexpr std::size_t kMostOwners = 1024;
constexpr std::size_t kMostSetEntries = 1 << 16;

/// Functions of trio in which tasks wait, and for what.
struct WaitingFunction {
    std::string_view file;
    std::string_view name;  ///< co_name.
    Kind kind;
    std::string_view class_name;  ///< Of the object that it waits for; empty: there is none.
};
constexpr std::array kFunctions{
    WaitingFunction{"trio/_timeouts.py", "sleep_forever", Kind::kSleep, ""},
    WaitingFunction{"trio/_channel.py", "send", Kind::kQueuePut, "MemorySendChannel"},
    WaitingFunction{"trio/_channel.py", "receive", Kind::kQueueGet, "MemoryReceiveChannel"},
    WaitingFunction{"trio/_core/_run.py", "_nested_child_finished", Kind::kTaskGroup, "Nursery"},
    WaitingFunction{"trio/_threads.py", "to_thread_run_sync", Kind::kExecutor, ""},
    WaitingFunction{"trio/_core/_io_epoll.py", "wait_readable", Kind::kStreamRead, ""},
    WaitingFunction{"trio/_core/_io_epoll.py", "wait_writable", Kind::kStreamWrite, ""},
};

/// What is waited for in _sync.py depends on the class.
constexpr std::string_view kLocksFile = "trio/_sync.py";
constexpr std::array kLocks{
    std::pair{std::string_view("Event"), Kind::kEvent},
    std::pair{std::string_view("CapacityLimiter"), Kind::kSemaphore},
    std::pair{std::string_view("Semaphore"), Kind::kSemaphore},
    std::pair{std::string_view("Condition"), Kind::kCondition},
    std::pair{std::string_view("_LockImpl"), Kind::kLock},
};

/// Functions by which all others suspend a task.
constexpr std::array<std::string_view, 2> kTraps = {"trio/_core/_traps.py",
                                                    "trio/_core/_parking_lot.py"};

}  // namespace

TrioWaits::TrioWaits(const memory::MemoryReader& memory, const Layout& layout, TypeCache& types,
                     const CoroutineReader& coroutines, const CodeReader& codes)
    : memory_(memory),
      layout_(layout),
      types_(types),
      coroutines_(coroutines),
      codes_(codes),
      attributes_(memory, layout, types) {}

bool TrioWaits::is_in(const AwaitingFrame& frame, std::string_view file) const {
    const Code* code = codes_.find(frame.frame.code);
    return code != nullptr && !code->problem && is_library_file(code->file.view(), file);
}

bool TrioWaits::is_function(const AwaitingFrame& frame, std::string_view file,
                            std::string_view name) const {
    return is_in(frame, file) && codes_.find(frame.frame.code)->function.view() == name;
}

std::size_t TrioWaits::without_traps(const std::vector<AwaitingFrame>& frames) const {
    std::size_t count = frames.size();
    while (count > 0 && std::ranges::any_of(kTraps, [&](std::string_view file) {
               return is_in(frames[count - 1], file);
           })) {
        --count;
    }
    return count;
}

void TrioWaits::find(RawTask& task) {
    if (task.state != model::TaskState::kWaiting) return;
    const auto& frames = task.chain.frames;
    std::size_t count = without_traps(frames);
    // Whoever yields by other means is not trio's.
    if (count == frames.size()) return;
    // The method of the I/O manager is called by one of the same name or by a helper of its own.
    const auto is_helper = [&](const AwaitingFrame& frame) {
        return is_function(frame, "trio/_core/_io_epoll.py", "_epoll_wait");
    };
    if (count > 0 && is_helper(frames[count - 1])) --count;
    if (count == 0) return;
    const AwaitingFrame& innermost = frames[count - 1];
    task.wait = by_function(innermost);
    if (!task.wait) {
        const RemoteAddr lot = find_object(frames[count], "ParkingLot");
        if (lot) task.wait = of_object(Kind::kOther, lot);
    }
    if (task.wait && task.wait->kind == Kind::kSleep && count > 1 &&
        is_function(frames[count - 2], "trio/_timeouts.py", "sleep_until")) {
        task.wakes_at_s = wake_up_time(task, frames[count - 2]);
    }
    // Some wait by means of others.
    for (std::size_t i = count; i-- > 0;) {
        if (!is_function(frames[i], "trio/_subprocess.py", "wait")) continue;
        const RemoteAddr process = find_object(frames[i], "Process");
        if (!process) break;
        task.wait = of_object(Kind::kProcess, process);
        const RemoteAddr pid = attributes_.get(attributes_.get(process, "_proc"), "pid");
        if (pid) task.wait->pid = read_int64(memory_, layout_, pid).value_or(std::nullopt);
        break;
    }
}

std::optional<model::TaskWait> TrioWaits::by_function(const AwaitingFrame& frame) {
    if (is_in(frame, kLocksFile)) return of_lock(frame);
    for (const WaitingFunction& function : kFunctions) {
        if (!is_function(frame, function.file, function.name)) continue;
        if (function.class_name.empty()) return model::TaskWait{.kind = function.kind};
        const RemoteAddr object = find_object(frame, function.class_name);
        return object ? of_object(function.kind, object) : model::TaskWait{.kind = function.kind};
    }
    return std::nullopt;
}

model::TaskWait TrioWaits::of_object(Kind kind, RemoteAddr object) {
    model::TaskWait wait{.kind = kind, .object = object.value};
    if (const auto type = types_.of(object)) wait.type_name = types_.full_name(**type);
    return wait;
}

std::optional<model::TaskWait> TrioWaits::of_lock(const AwaitingFrame& frame) {
    for (const RemoteAddr object : variables(frame)) {
        if (const auto kind = kind_of_lock(object)) return of_object(*kind, object);
    }
    return std::nullopt;
}

std::optional<Kind> TrioWaits::kind_of_lock(RemoteAddr object) {
    for (const auto& [name, kind] : kLocks) {
        if (is_of_class(object, name)) return kind;
    }
    return std::nullopt;
}

/// Classes that trio makes public say that they are of another module of it.
bool TrioWaits::is_of_class(RemoteAddr object, std::string_view class_name) {
    const auto type = types_.of(object);
    const TypeInfo* next = type ? *type : nullptr;
    for (int i = 0; i < kMostBases && next != nullptr; ++i) {
        if (next->name == class_name && types_.full_name(*next).starts_with("trio.")) return true;
        const auto base = next->base ? types_.find(next->base) : fail(Error{});
        next = base ? *base : nullptr;
    }
    return false;
}

/// An argument that inner functions use is in a cell.
std::vector<RemoteAddr> TrioWaits::variables(const AwaitingFrame& frame) {
    std::vector<RemoteAddr> objects;
    for (RemoteAddr object : coroutines_.read_values(frame.values)) {
        if (!object) continue;
        const auto type = types_.of(object);
        if (type && (*type)->kind == ValueKind::kCell && layout_.cell_object.ob_ref)
            object =
                memory_.read_pointer(object + *layout_.cell_object.ob_ref).value_or(RemoteAddr{});
        if (object) objects.push_back(object);
    }
    return objects;
}

RemoteAddr TrioWaits::find_object(const AwaitingFrame& frame, std::string_view class_name) {
    for (const RemoteAddr object : variables(frame)) {
        if (is_of_class(object, class_name)) return object;
    }
    return {};
}

/// The deadline is on the clock of the runner, which is the monotonic one with an offset.
std::optional<double> TrioWaits::wake_up_time(const RawTask& task,
                                              const AwaitingFrame& sleep_until) {
    const RemoteAddr clock = attributes_.get(task.loop, "clock");
    if (!clock || !is_of_class(clock, "SystemClock")) return std::nullopt;
    const auto offset = float_value(memory_, layout_, types_, attributes_.get(clock, "offset"));
    const auto deadline = float_value(memory_, layout_, types_, sleep_until.first_variable);
    return offset && deadline ? std::optional(*deadline - *offset) : std::nullopt;
}

std::vector<RemoteAddr> TrioWaits::owners(RemoteAddr lock) {
    std::vector<RemoteAddr> found;
    if (const RemoteAddr owner = attributes_.get(lock, "_owner")) found.push_back(owner);
    const RemoteAddr borrowers = attributes_.get(lock, "_borrowers");
    const auto type = types_.of(borrowers);
    if (!borrowers || !type || (*type)->kind != ValueKind::kSet) return found;
    (void)for_each_set_item(memory_, layout_, borrowers, kMostSetEntries, [&](RemoteAddr one) {
        found.push_back(one);
        return found.size() < kMostOwners;
    });
    return found;
}

void TrioWaits::add_holders(std::vector<RawTask>& tasks) {
    std::unordered_set<RemoteAddr> known;
    for (const RawTask& task : tasks) known.insert(task.address);
    std::unordered_map<std::uint64_t, std::vector<std::uint64_t>> holders;
    for (RawTask& task : tasks) {
        if (!task.wait || (task.wait->kind != Kind::kLock && task.wait->kind != Kind::kSemaphore))
            continue;
        const auto [place, is_new] = holders.try_emplace(task.wait->object);
        if (is_new) {
            for (const RemoteAddr owner : owners({task.wait->object})) {
                if (known.contains(owner)) place->second.push_back(owner.value);
            }
            std::ranges::sort(place->second);
        }
        task.wait->holders = place->second;
    }
}

}  // namespace pystack::cpython
