#include "cpython/tasks/wait_reasons.h"

#include <algorithm>
#include <array>
#include <unordered_set>
#include <utility>

#include "cpython/objects/attributes.h"
#include "cpython/objects/callbacks.h"
#include "cpython/objects/instance_attributes.h"
#include "cpython/objects/objects.h"
#include "cpython/objects/typed_values.h"
#include "cpython/tasks/library_files.h"
#include "cpython/tasks/transports.h"

namespace pystack::cpython {

namespace {

using Kind = model::TaskWaitKind;

constexpr std::size_t kMostCallbacks = 16;
constexpr int kMostBases = 16;

/// Of anyio: where it runs on asyncio, and its streams between tasks.
constexpr std::string_view kAnyioFile = "anyio/_backends/_asyncio.py";
constexpr std::string_view kAnyioStreams = "anyio/streams/memory.py";

/// Functions of asyncio and anyio in which tasks wait, and for what.
struct WaitingFunction {
    std::string_view file;
    std::string_view name;  ///< co_name.
    Kind kind;
    bool of_self;  ///< The object is its first argument, else the future that the task waits for.
    std::string_view class_name = {};  ///< Of `self`, where other classes have such a method, too.
};
constexpr std::array kFunctions{
    WaitingFunction{"asyncio/tasks.py", "sleep", Kind::kSleep, false},
    WaitingFunction{"asyncio/tasks.py", "_wait", Kind::kWait, false},
    WaitingFunction{"asyncio/tasks.py", "wait_for", Kind::kWait, false},
    WaitingFunction{"asyncio/queues.py", "get", Kind::kQueueGet, true},
    WaitingFunction{"asyncio/queues.py", "put", Kind::kQueuePut, true},
    WaitingFunction{"asyncio/queues.py", "join", Kind::kQueueJoin, true},
    WaitingFunction{"asyncio/taskgroups.py", "__aexit__", Kind::kTaskGroup, true},
    WaitingFunction{"asyncio/taskgroups.py", "_aexit", Kind::kTaskGroup, true},
    WaitingFunction{kAnyioFile, "__aexit__", Kind::kTaskGroup, true, "TaskGroup"},
    WaitingFunction{kAnyioFile, "acquire", Kind::kLock, true, "Lock"},
    WaitingFunction{kAnyioFile, "acquire", Kind::kSemaphore, true, "Semaphore"},
    WaitingFunction{kAnyioFile, "run_sync_in_worker_thread", Kind::kExecutor, false},
    WaitingFunction{kAnyioStreams, "receive", Kind::kQueueGet, true},
    WaitingFunction{kAnyioStreams, "send", Kind::kQueuePut, true},
    WaitingFunction{"asyncio/streams.py", "_wait_for_data", Kind::kStreamRead, true},
    WaitingFunction{"asyncio/streams.py", "_drain_helper", Kind::kStreamWrite, true},
    WaitingFunction{"asyncio/base_subprocess.py", "_wait", Kind::kProcess, true},
};

/// What is waited for in locks.py depends on the class of `self`.
constexpr std::array kLocks{
    std::pair{std::string_view("Lock"), Kind::kLock},
    std::pair{std::string_view("Semaphore"), Kind::kSemaphore},
    std::pair{std::string_view("Condition"), Kind::kCondition},
    std::pair{std::string_view("Event"), Kind::kEvent},
    std::pair{std::string_view("Barrier"), Kind::kBarrier},
};

/// What is waited for by means of something else.
constexpr std::array kByOthers{Kind::kQueueJoin, Kind::kQueueGet, Kind::kQueuePut, Kind::kBarrier,
                               Kind::kTaskGroup};

constexpr std::array<std::string_view, 2> kExits{".__aexit__", ".__exit__"};
constexpr std::span<const std::string_view> kAsyncExits(kExits.data(), 1);
/// What other tasks may keep waiting for ever.
constexpr std::array kBlocking{Kind::kLock, Kind::kTask, Kind::kGather, Kind::kTaskGroup,
                               Kind::kWait};

bool can_be_held(Kind kind) {
    return kind == Kind::kLock || kind == Kind::kSemaphore || kind == Kind::kCondition;
}

}  // namespace

WaitReasons::WaitReasons(const memory::MemoryReader& memory, const Layout& layout, TypeCache& types,
                         Futures& futures, const CoroutineReader& coroutines,
                         const CodeReader& codes)
    : memory_(memory),
      layout_(layout),
      types_(types),
      futures_(futures),
      coroutines_(coroutines),
      codes_(codes) {}

const Code* WaitReasons::code_in(const AwaitingFrame& frame, std::string_view file) const {
    const Code* code = codes_.find(frame.frame.code);
    return code != nullptr && !code->problem && is_library_file(code->file, file) ? code : nullptr;
}

bool WaitReasons::is_of_library(const AwaitingFrame& frame) const {
    const Code* code = codes_.find(frame.frame.code);
    return code != nullptr && (code->file.view().find("/asyncio/") != std::string_view::npos ||
                               code->file.view().find("/anyio/") != std::string_view::npos);
}

void WaitReasons::find(RawTask& task) {
    if (task.state != model::TaskState::kWaiting) return;
    const auto& frames = task.chain.frames;
    if (!frames.empty()) {
        task.wait = by_function(task, frames.back());
        if (task.wait && task.wait->kind == Kind::kSleep)
            task.wakes_at_s = wake_up_time(frames.back());
    }
    // Some wait by means of others.
    for (std::size_t i = frames.size(); task.wait && i-- > 0 && is_of_library(frames[i]);) {
        auto outer = by_function(task, frames[i]);
        if (outer && std::ranges::find(kByOthers, outer->kind) != kByOthers.end())
            task.wait = std::move(outer);
    }
    if (!task.wait && task.waited_for) task.wait = by_future(task.waited_for);
}

/// The innermost frame: those around it wait for what it does.
std::optional<model::TaskWait> WaitReasons::by_function(const RawTask& task,
                                                        const AwaitingFrame& frame) {
    if (code_in(frame, "asyncio/locks.py") != nullptr) {
        const auto kind = kind_of_lock(frame.first_variable);
        return kind ? std::optional(describe(*kind, frame.first_variable)) : std::nullopt;
    }
    for (const WaitingFunction& function : kFunctions) {
        const Code* code = code_in(frame, function.file);
        if (code == nullptr || code->function != function.name) continue;
        if (!function.class_name.empty() && !is_named(frame.first_variable, function.class_name))
            continue;
        // It awaits the task itself from 3.12 on.
        if (function.kind == Kind::kWait && Futures::is_task(futures_.kind_of(task.waited_for)))
            return std::nullopt;
        model::TaskWait wait =
            describe(function.kind, function.of_self ? frame.first_variable : task.waited_for);
        if (function.kind == Kind::kSleep || function.kind == Kind::kWait)
            wait = {.kind = function.kind};
        if (function.kind == Kind::kStreamRead || function.kind == Kind::kStreamWrite) {
            wait.target =
                stream_peer(memory_, layout_, types_, frame.first_variable).value_or(std::string());
        }
        if (function.kind == Kind::kProcess) {
            const auto pid = instance_attribute(memory_, layout_, frame.first_variable, "_pid");
            if (pid && *pid) wait.pid = read_int64(memory_, layout_, **pid).value_or(std::nullopt);
        }
        return wait;
    }
    return std::nullopt;
}

bool WaitReasons::is_named(RemoteAddr object, std::string_view class_name) {
    const auto type = types_.of(object);
    return type && (*type)->name == class_name;
}

model::TaskWait WaitReasons::by_future(RemoteAddr future) {
    if (Futures::is_task(futures_.kind_of(future))) return describe(Kind::kTask, future);
    model::TaskWait wait = describe(Kind::kFuture, future);
    if (wait.type_name == "asyncio.tasks._GatheringFuture") {
        wait.kind = Kind::kGather;
    } else if (futures_.kind_of(future) == FutureKind::kNone) {
        wait.kind = Kind::kOther;
    } else if (waits_for_executor(future)) {
        wait.kind = Kind::kExecutor;
    }
    return wait;
}

model::TaskWait WaitReasons::describe(Kind kind, RemoteAddr object) {
    model::TaskWait wait{.kind = kind, .object = object.value};
    if (const auto type = types_.of(object)) wait.type_name = types_.full_name(**type);
    return wait;
}

std::optional<Kind> WaitReasons::kind_of_lock(RemoteAddr object) {
    const auto type = types_.of(object);
    const TypeInfo* next = type ? *type : nullptr;
    for (int i = 0; i < kMostBases && next != nullptr; ++i) {
        for (const auto& [name, kind] : kLocks) {
            if (next->name == name && types_.full_name(*next) == "asyncio.locks." + next->name)
                return kind;
        }
        const auto base = next->base ? types_.find(next->base) : fail(Error{});
        next = base ? *base : nullptr;
    }
    return std::nullopt;
}

/// wrap_future() [asyncio/futures.py]: what becomes of an executor's future is copied to this one.
bool WaitReasons::waits_for_executor(RemoteAddr future) {
    const auto parts = futures_.read(future);
    if (!parts) return false;
    Callbacks callbacks(memory_, layout_, types_);
    return std::ranges::any_of(
        futures_.callbacks_of(*parts, kMostCallbacks), [&](RemoteAddr callback) {
            return callbacks.function_name(callback) == "_chain_future.<locals>._call_check_cancel";
        });
}

/// The timer of sleep() is a local variable of it, and knows when it rings.
std::optional<double> WaitReasons::wake_up_time(const AwaitingFrame& sleep) {
    for (const RemoteAddr object : coroutines_.read_values(sleep.values)) {
        if (!object) continue;
        const auto type = types_.of(object);
        if (!type || (*type)->name != "TimerHandle" ||
            types_.full_name(**type) != "asyncio.events.TimerHandle") {
            continue;
        }
        for (const SlotMember& slot : types_.slots(**type)) {
            if (slot.name != "_when") continue;
            const auto when = memory_.read_pointer(object + slot.offset);
            return float_value(memory_, layout_, types_, when.value_or(RemoteAddr{}));
        }
    }
    return std::nullopt;
}

bool WaitReasons::is_method(RemoteAddr function, std::span<const std::string_view> names) {
    const std::string found = Callbacks(memory_, layout_, types_).qualified_name(function);
    return std::ranges::any_of(names, [&](auto name) { return found.ends_with(name); });
}

/// `async with` keeps the exit method on the stack until it is called: bound to its object or, from
/// 3.14 on, in the slot below it.
std::vector<RemoteAddr> WaitReasons::entered(const AwaitingFrame& frame,
                                             std::span<const std::string_view> exit_methods) {
    std::vector<RemoteAddr> objects;
    RemoteAddr before;
    for (const RemoteAddr object : coroutines_.read_values(frame.values)) {
        const RemoteAddr below = std::exchange(before, object);
        if (!object) continue;
        const auto type = types_.of(object);
        if (!type) continue;
        if ((*type)->kind == ValueKind::kMethod && layout_.method_object.im_func) {
            const auto function = memory_.read_pointer(object + *layout_.method_object.im_func);
            const auto self = memory_.read_pointer(object + *layout_.method_object.im_self);
            if (function && self && is_method(*function, exit_methods)) objects.push_back(*self);
        } else if (below && is_method(below, exit_methods)) {
            objects.push_back(object);
        }
    }
    return objects;
}

void WaitReasons::add_holders(std::vector<RawTask>& tasks) {
    Holders holders;
    for (const RawTask& task : tasks) {
        if (task.wait && can_be_held(task.wait->kind)) holders[task.wait->object];
    }
    if (holders.empty()) return;
    for (const RawTask& task : tasks) {
        const auto& frames = task.chain.frames;
        for (std::size_t i = 0; i < frames.size(); ++i) {
            for (const RemoteAddr lock : entered(frames[i], kAsyncExits)) {
                const auto found = holders.find(lock.value);
                if (found == holders.end()) continue;
                // While it enters, the exit method is there already.
                const Code* next =
                    i + 1 < frames.size() ? codes_.find(frames[i + 1].frame.code) : nullptr;
                const bool enters = next != nullptr && next->function == "__aenter__" &&
                                    frames[i + 1].first_variable == lock;
                // wait() gives the lock of a condition back for as long as it lasts.
                const bool waits = task.wait && task.wait->kind == Kind::kCondition &&
                                   task.wait->object == lock.value;
                const bool is_known =
                    !found->second.empty() && found->second.back() == task.address.value;
                if (!enters && !waits && !is_known) found->second.push_back(task.address.value);
            }
        }
    }
    use_recorded_owners(tasks, holders);
    for (RawTask& task : tasks) {
        if (!task.wait) continue;
        const auto found = holders.find(task.wait->object);
        if (found != holders.end()) task.wait->holders = found->second;
    }
}

/// anyio's locks know them, also tasks that have ended.
void WaitReasons::use_recorded_owners(const std::vector<RawTask>& tasks, Holders& holders) {
    std::unordered_map<std::uint64_t, RemoteAddr> owners;  ///< By lock.
    for (const RawTask& task : tasks) {
        if (!task.wait || task.wait->kind != Kind::kLock || !task.wait->type_name ||
            !task.wait->type_name->starts_with("anyio.")) {
            continue;
        }
        const auto [owner, is_new] = owners.try_emplace(task.wait->object);
        if (!is_new) continue;
        const RemoteAddr found =
            Attributes(memory_, layout_, types_).get({task.wait->object}, "_owner_task");
        if (found && Futures::is_task(futures_.kind_of(found))) owner->second = found;
    }
    if (owners.empty()) return;
    std::unordered_set<RemoteAddr> known;
    for (const RawTask& task : tasks) known.insert(task.address);
    for (const auto& [lock, owner] : owners) {
        if (!owner) continue;
        holders[lock].clear();
        if (known.contains(owner)) holders[lock].push_back(owner.value);
    }
}

/// In a with block of timeout(), of a cancel scope, or of something that may have one inside.
bool WaitReasons::may_time_out(const AwaitingFrame& frame) {
    const Code* code = code_in(frame, "asyncio/tasks.py");
    if (code != nullptr && code->function == "wait_for") return true;
    for (const RemoteAddr object : entered(frame, kExits)) {
        const auto type = types_.of(object);
        if (!type) return true;
        const std::string_view name = (*type)->name;
        for (const std::string_view part : {"imeout", "CancelScope", "ContextManager"}) {
            if (name.find(part) != std::string_view::npos) return true;
        }
    }
    return false;
}

void WaitReasons::find_timeouts(std::vector<RawTask>& tasks) {
    for (RawTask& task : tasks) {
        if (!task.wait || std::ranges::find(kBlocking, task.wait->kind) == kBlocking.end())
            continue;
        task.wait->may_time_out = std::ranges::any_of(
            task.chain.frames, [this](const auto& frame) { return may_time_out(frame); });
    }
}

}  // namespace pystack::cpython
