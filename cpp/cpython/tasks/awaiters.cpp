#include "cpython/tasks/awaiters.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "cpython/objects/instance_attributes.h"
#include "cpython/objects/set_objects.h"

namespace pystack::cpython {

namespace {

constexpr std::uint64_t kMostSetEntries = 1 << 16;
/// Of one task that are looked at; those of real ones are a few.
constexpr std::size_t kMostCallbacks = 64;
constexpr std::size_t kMostFutures = 64;
/// Of all tasks together.
constexpr std::size_t kMostAwaiters = 1 << 20;

/// The callbacks by which asyncio finishes what others wait for [asyncio/tasks.py].
constexpr std::array<std::string_view, 7> kFinishing = {
    "_gather.<locals>._done_callback",  // 3.9
    "gather.<locals>._done_callback",          "shield.<locals>._inner_done_callback",
    "_wait.<locals>._on_completion",           "as_completed.<locals>._on_completion",
    "_AsCompletedIterator._handle_completion", "_release_waiter",
};
constexpr std::string_view kTaskGroup = "TaskGroup._on_task_done";
/// That of anyio's task groups [anyio/_backends/_asyncio.py].
constexpr std::string_view kAnyioTaskGroup = "TaskGroup._spawn.<locals>.task_done";

bool is_of_asyncio(std::string_view path) {
    return path.find("/asyncio/") != std::string_view::npos;
}

}  // namespace

Awaiters::Awaiters(const memory::MemoryReader& memory, const Layout& layout, TypeCache& types,
                   Futures& futures, const CodeReader& codes, WorkLimits& limits)
    : memory_(memory),
      layout_(layout),
      types_(types),
      futures_(futures),
      codes_(codes),
      limits_(limits),
      callbacks_(memory, layout, types),
      attributes_(memory, layout, types) {}

bool Awaiters::find(std::vector<RawTask>& tasks) {
    tasks_ = &tasks;
    left_ = kMostAwaiters;
    is_cut_ = false;
    note_what_is_waited_for(tasks);
    for (RawTask& task : tasks) {
        if (!limits_.charge_steps()) return false;
        add_waiters(task.address, tasks, task);
        const auto parts = futures_.read(task.address);
        if (!parts) continue;
        add_published(*parts, task);
        add_by_callbacks(*parts, task);
        std::ranges::sort(task.awaited_by);
        const auto [first, last] = std::ranges::unique(task.awaited_by);
        task.awaited_by.erase(first, last);
    }
    return !is_cut_;
}

void Awaiters::note_what_is_waited_for(const std::vector<RawTask>& tasks) {
    index_of_.clear();
    waiters_.clear();
    for (std::uint32_t i = 0; i < tasks.size(); ++i) {
        index_of_.emplace(tasks[i].address, i);
        if (tasks[i].waited_for) waiters_[tasks[i].waited_for].push_back(i);
        for (const AwaitingFrame& frame : tasks[i].chain.frames) {
            const Code* code = frame.first_variable ? codes_.find(frame.frame.code) : nullptr;
            if (code == nullptr || !is_of_asyncio(code->file)) continue;
            Tasks& waiters = waiters_[frame.first_variable];
            if (waiters.empty() || waiters.back() != i) waiters.push_back(i);
        }
    }
}

void Awaiters::add(RemoteAddr awaiter, RawTask& task) {
    if (awaiter == task.address || !index_of_.contains(awaiter)) return;
    if (left_ == 0 || !limits_.charge_steps()) {
        is_cut_ = true;
        return;
    }
    --left_;
    task.awaited_by.push_back(awaiter.value);
}

void Awaiters::add_waiters(RemoteAddr object, const std::vector<RawTask>& tasks, RawTask& task) {
    const auto found = waiters_.find(object);
    if (found == waiters_.end()) return;
    for (const std::uint32_t index : found->second) {
        if (is_cut_) return;
        add(tasks[index].address, task);
    }
}

void Awaiters::add_published(const FutureParts& parts, RawTask& task) {
    if (!parts.awaited_by) return;
    if (!parts.awaited_by_is_set) {
        add(parts.awaited_by, task);
        return;
    }
    const auto read = for_each_set_item(memory_, layout_, parts.awaited_by, kMostSetEntries,
                                        [&](RemoteAddr awaiter) {
                                            add(awaiter, task);
                                            return !is_cut_ && limits_.charge_steps();
                                        });
    if (!read) is_cut_ = true;
}

/// Callbacks finish futures whose own callbacks finish others, and so on.
void Awaiters::add_by_callbacks(const FutureParts& parts, RawTask& task) {
    std::vector<FutureParts> queue{parts};
    std::vector<RemoteAddr> seen;
    for (std::size_t next = 0; next < queue.size(); ++next) {
        const FutureParts future = queue[next];
        for (const RemoteAddr callback : futures_.callbacks_of(future, kMostCallbacks)) {
            if (!limits_.charge_steps()) return;
            const std::string name = callbacks_.function_name(callback);
            if (name == kTaskGroup) {
                for (const RemoteAddr group : callbacks_.subjects(callback)) {
                    const auto parent = instance_attribute(memory_, layout_, group, "_parent_task");
                    if (parent && *parent) add(**parent, task);
                }
                continue;
            }
            if (name == kAnyioTaskGroup) {
                for (const RemoteAddr object : callbacks_.subjects(callback)) {
                    const RemoteAddr scope = attributes_.get(object, "cancel_scope");
                    if (const RemoteAddr host = attributes_.get(scope, "_host_task"))
                        add(host, task);
                }
                continue;
            }
            if (std::ranges::find(kFinishing, name) == kFinishing.end()) continue;
            for (const RemoteAddr object : callbacks_.subjects(callback)) {
                add_waiters(object, *tasks_, task);
                if (queue.size() >= kMostFutures || std::ranges::find(seen, object) != seen.end())
                    continue;
                const FutureKind kind = futures_.kind_of(object);
                if (kind != FutureKind::kFuture && kind != FutureKind::kPythonFuture) continue;
                seen.push_back(object);
                if (const auto finished = futures_.read(object)) queue.push_back(*finished);
            }
        }
    }
}

}  // namespace pystack::cpython
