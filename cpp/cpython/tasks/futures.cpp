#include "cpython/tasks/futures.h"

#include <algorithm>
#include <string_view>

#include "cpython/objects/instance_attributes.h"
#include "cpython/objects/objects.h"
#include "cpython/objects/sequences.h"
#include "memory/remote_struct.h"

namespace pystack::cpython {

namespace {

using memory::RemoteStruct;

constexpr std::uint64_t kWordBytes = 8;
/// Words behind the head of a future [FutureObj_HEAD, Modules/_asynciomodule.c, 3.7 to 3.15].
constexpr std::uint64_t kLoop = 0;
constexpr std::uint64_t kFirstCallback = 1;
constexpr std::uint64_t kMoreCallbacks = 3;
/// Where a task's own fields can begin at the earliest: a callback may be a coroutine, too.
constexpr std::uint64_t kFirstOwn = 5;
constexpr std::uint64_t kMostTaskBytes = 1024;
/// Classes that derive from each other.
constexpr int kMostBases = 16;
constexpr std::size_t kMostTasksForShape = 64;
constexpr std::size_t kMostListItems = 4096;

FutureKind kind_of_class(std::string_view name, std::string_view full_name) {
    if (name == "_asyncio.Task") return FutureKind::kTask;
    if (name == "_asyncio.Future") return FutureKind::kFuture;
    if (full_name == "asyncio.tasks.Task") return FutureKind::kPythonTask;
    if (full_name == "asyncio.futures.Future") return FutureKind::kPythonFuture;
    return FutureKind::kNone;
}

}  // namespace

Futures::Futures(const memory::MemoryReader& memory, const Layout& layout, TypeCache& types,
                 const std::optional<AsyncioOffsets>& published)
    : memory_(memory), layout_(layout), types_(types), published_(published) {}

FutureKind Futures::kind_of(RemoteAddr object) {
    const auto type = read_type(memory_, layout_, object);
    if (!type || !*type) return FutureKind::kNone;
    if (const auto known = kinds_.find(*type); known != kinds_.end()) return known->second;
    FutureKind kind = FutureKind::kNone;
    RemoteAddr next = *type;
    for (int i = 0; i < kMostBases && next && kind == FutureKind::kNone; ++i) {
        const auto info = types_.find(next);
        if (!info) break;
        // Built-in classes need no look at their modules.
        const bool is_candidate = (*info)->name == "Task" || (*info)->name == "Future";
        if (is_candidate) kind = kind_of_class((*info)->tp_name, types_.full_name(**info));
        next = (*info)->base;
    }
    kinds_.emplace(*type, kind);
    return kind;
}

bool Futures::is_awaitable(RemoteAddr object) {
    if (!object || object.value % kWordBytes != 0) return false;
    const auto type = types_.of(object);
    if (!type) return false;
    // Compiled by Cython, a coroutine is of a class of its own.
    return (*type)->kind == ValueKind::kCoroutine || (*type)->kind == ValueKind::kGenerator ||
           (*type)->name == "coroutine";
}

bool Futures::is_name(RemoteAddr object) {
    if (!object || object.value % kWordBytes != 0) return false;
    const auto type = types_.of(object);
    return type && ((*type)->kind == ValueKind::kStr || (*type)->kind == ValueKind::kInt);
}

bool Futures::learn_shape(std::span<const RemoteAddr> tasks) {
    if (published_) {
        shape_ = Shape{.coroutine = published_->task_coroutine,
                       .has_name = true,
                       .size = published_->task_size};
        return true;
    }
    struct Votes {
        std::size_t coroutine = 0;
        std::size_t name = 0;
    };
    std::vector<Votes> votes;
    std::size_t voters = 0;
    const std::uint64_t head = layout_.pyobject.struct_size;
    for (const RemoteAddr task : tasks) {
        if (voters == kMostTasksForShape) break;
        if (kind_of(task) != FutureKind::kTask) continue;
        const auto type = types_.of(task);
        if (!type) continue;
        const std::uint64_t size = std::min((*type)->basic_size, kMostTaskBytes);
        const auto bytes = memory_.read_bytes(task, size);
        if (!bytes) continue;
        ++voters;
        const RemoteStruct object(task, *bytes);
        votes.resize(std::max<std::size_t>(votes.size(), size / kWordBytes));
        for (std::uint64_t at = head + kFirstOwn * kWordBytes; at + 2 * kWordBytes <= size;
             at += kWordBytes) {
            if (!is_awaitable(*object.pointer(at))) continue;
            Votes& place = votes[at / kWordBytes];
            ++place.coroutine;
            if (is_name(*object.pointer(at + kWordBytes))) ++place.name;
        }
    }
    // A task that is done may have a coroutine for its result; most are not done.
    std::size_t best = 0;
    bool is_tie = true;
    for (std::size_t i = 0; i < votes.size(); ++i) {
        if (votes[i].coroutine == 0 || votes[i].coroutine < votes[best].coroutine) continue;
        is_tie = votes[i].coroutine == votes[best].coroutine && i != best;
        best = i;
    }
    if (votes.empty() || is_tie || votes[best].coroutine * 2 < voters) return false;
    shape_ = Shape{.coroutine = static_cast<std::uint32_t>(best * kWordBytes),
                   .has_name = votes[best].name == votes[best].coroutine,
                   .size = static_cast<std::uint32_t>((best + 2) * kWordBytes)};
    return true;
}

std::optional<FutureParts> Futures::read(RemoteAddr future) {
    switch (kind_of(future)) {
        case FutureKind::kFuture:
            return read_c_future(future, false);
        case FutureKind::kTask:
            return shape_ ? read_c_future(future, true) : std::nullopt;
        case FutureKind::kPythonFuture:
            return read_python_future(future, false);
        case FutureKind::kPythonTask:
            return read_python_future(future, true);
        case FutureKind::kNone:
            break;
    }
    return std::nullopt;
}

std::optional<FutureParts> Futures::read_c_future(RemoteAddr future, bool is_task) {
    const std::uint64_t head = layout_.pyobject.struct_size;
    buffer_.resize(is_task ? shape_->size : head + (kMoreCallbacks + 1) * kWordBytes);
    if (!memory_.read(future, buffer_)) return std::nullopt;
    const RemoteStruct object(future, buffer_);
    const auto word = [&](std::uint64_t offset) {
        return object.pointer(offset).value_or(RemoteAddr{});
    };
    FutureParts parts{.loop = word(head + kLoop * kWordBytes),
                      .first_callback = word(head + kFirstCallback * kWordBytes),
                      .more_callbacks = word(head + kMoreCallbacks * kWordBytes)};
    if (!is_task) return parts;
    parts.coroutine = word(shape_->coroutine);
    parts.waited_for = word(shape_->coroutine - kWordBytes);
    if (shape_->has_name) parts.name = word(shape_->coroutine + kWordBytes);
    if (published_) {
        parts.name = word(published_->task_name);
        parts.awaited_by = word(published_->task_awaited_by);
        parts.awaited_by_is_set =
            object.get<std::uint8_t>(published_->task_awaited_by_is_set).value_or(0) != 0;
    }
    return parts;
}

std::optional<FutureParts> Futures::read_python_future(RemoteAddr future, bool is_task) {
    const auto table =
        std::move(read_attribute_tables(memory_, layout_, std::span(&future, 1)).front());
    if (!table || !*table || !is_searchable(memory_, layout_, (*table)->keys)) return std::nullopt;
    const auto attribute = [&](std::string_view name) {
        const auto found = find_in_tables(memory_, layout_, std::span(&**table, 1), name).front();
        return found ? found->value_or(RemoteAddr{}) : RemoteAddr{};
    };
    FutureParts parts{.loop = attribute("_loop"), .more_callbacks = attribute("_callbacks")};
    if (!is_task) return parts;
    parts.coroutine = attribute("_coro");
    parts.name = attribute("_name");
    parts.waited_for = attribute("_fut_waiter");
    return parts;
}

std::vector<RemoteAddr> Futures::callbacks_of(const FutureParts& future, std::size_t most) {
    std::vector<RemoteAddr> callbacks;
    if (future.first_callback && most > 0) callbacks.push_back(future.first_callback);
    const std::size_t wanted = std::min(most - callbacks.size(), kMostListItems);
    for (const RemoteAddr pair :
         list_items(memory_, layout_, types_, future.more_callbacks, wanted)) {
        const auto items = read_tuple_items(memory_, layout_, pair, 1);
        if (items && !items->empty()) callbacks.push_back(items->front());
    }
    return callbacks;
}

}  // namespace pystack::cpython
