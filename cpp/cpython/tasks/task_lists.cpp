#include "cpython/tasks/task_lists.h"

#include <algorithm>
#include <string_view>

#include "cpython/objects/dict_objects.h"
#include "cpython/objects/instance_attributes.h"
#include "cpython/objects/objects.h"
#include "cpython/objects/set_objects.h"

namespace pystack::cpython {

namespace {

constexpr std::uint64_t kWordBytes = 8;
/// Of one interpreter. Real programs have some ten thousand.
constexpr std::size_t kMostTasks = 1 << 20;
constexpr std::uint64_t kMostSetEntries = std::uint64_t{4} * kMostTasks;
constexpr std::size_t kMostLoops = 4096;
/// What is done with a task takes about a microsecond.
constexpr std::uint64_t kStepsPerTask = 100;

/// Where asyncio.tasks keeps tasks: 3.7 to 3.11, 3.12 and later, and those that run eagerly. From
/// 3.14 on only tasks that are not made in C are there.
constexpr std::string_view kWeakSets[] = {"_all_tasks", "_scheduled_tasks"};
constexpr std::string_view kEagerSet = "_eager_tasks";
constexpr std::string_view kCurrentTasks = "_current_tasks";
/// In the dict of a thread state, up to 3.13.
constexpr std::string_view kRunningLoop = "__asyncio_running_event_loop__";
constexpr std::string_view kHolder = "_RunningLoopHolder";

/// Of the module asyncio.tasks; null: it is not imported.
RemoteAddr globals_of_asyncio(const memory::MemoryReader& memory, const Layout& layout,
                              RemoteAddr interpreter) {
    const auto globals = imported_module_dict(memory, layout, interpreter, "asyncio.tasks");
    return globals ? globals->value_or(RemoteAddr{}) : RemoteAddr{};
}

}  // namespace

bool has_asyncio(const memory::MemoryReader& memory, const Layout& layout, RemoteAddr interpreter) {
    return static_cast<bool>(globals_of_asyncio(memory, layout, interpreter));
}

TaskLists::TaskLists(const memory::MemoryReader& memory, const Layout& layout, WorkLimits& limits,
                     const std::optional<AsyncioOffsets>& published)
    : memory_(memory), layout_(layout), limits_(limits), published_(published) {}

TaskList TaskLists::of_interpreter(RemoteAddr interpreter, const std::vector<RemoteAddr>& threads) {
    TaskList list;
    current_tasks_ = {};
    const RemoteAddr globals = globals_of_asyncio(memory_, layout_, interpreter);
    if (!globals) return list;
    const auto global = [&](std::string_view name) {
        const auto found = dict_lookup_str(memory_, layout_, globals, name);
        return found ? found->value_or(RemoteAddr{}) : RemoteAddr{};
    };
    list.is_unknown = true;
    for (const std::string_view name : kWeakSets) {
        const RemoteAddr set = global(name);
        if (!set) continue;
        list.is_unknown = false;
        add_set(weak_set_data(set), true, list);
    }
    if (const RemoteAddr set = global(kEagerSet)) add_set(set, false, list);
    current_tasks_ = global(kCurrentTasks);
    if (published_) {
        add_linked_list(interpreter + published_->ended_tasks, list);
        for (const RemoteAddr thread : threads) add_linked_list(thread + published_->tasks, list);
    }
    std::sort(list.tasks.begin(), list.tasks.end());
    list.tasks.erase(std::unique(list.tasks.begin(), list.tasks.end()), list.tasks.end());
    return list;
}

bool TaskLists::add(RemoteAddr task, TaskList& list) const {
    if (list.tasks.size() >= kMostTasks || !limits_.charge_steps(kStepsPerTask)) {
        list.is_cut = true;
        return false;
    }
    if (task && task.value % kWordBytes == 0) list.tasks.push_back(task);
    return true;
}

/// weakref.WeakSet: an instance with a set of weak references in `data` [Lib/_weakrefset.py].
RemoteAddr TaskLists::weak_set_data(RemoteAddr weak_set) const {
    const auto data = instance_attribute(memory_, layout_, weak_set, "data");
    return data ? data->value_or(RemoteAddr{}) : RemoteAddr{};
}

void TaskLists::add_set(RemoteAddr set, bool of_weak_references, TaskList& list) {
    if (!set) return;
    const auto add_item = [&](RemoteAddr item) {
        if (!of_weak_references) return add(item, list);
        // PyWeakReference begins with the object, which is None for one that died.
        const auto object = memory_.read_pointer(item + layout_.pyobject.struct_size);
        if (object) return add(*object, list);
        list.is_cut = true;
        return true;
    };
    if (!for_each_set_item(memory_, layout_, set, kMostSetEntries, add_item)) list.is_cut = true;
}

/// A ring of nodes inside of tasks; the head is in the thread or interpreter.
void TaskLists::add_linked_list(RemoteAddr head, TaskList& list) {
    const auto& fields = layout_.llist_node;
    if (!fields.next) return;
    auto node = memory_.read_pointer(head + *fields.next);
    // A head that was never used is null.
    if (node && !*node) return;
    while (node && *node && *node != head) {
        if (!add(*node - published_->task_node, list)) return;
        node = memory_.read_pointer(*node + *fields.next);
    }
    if (!node || !*node) list.is_cut = true;
}

/// In the dict of a thread state; null: there is none.
RemoteAddr TaskLists::loop_in_dict(RemoteAddr thread_state) const {
    if (!layout_.thread_state.dict) return {};
    const auto dict = memory_.read_pointer(thread_state + *layout_.thread_state.dict);
    if (!dict || !*dict) return {};
    const auto value = dict_lookup_str(memory_, layout_, *dict, kRunningLoop);
    if (!value || !*value) return {};
    // Up to 3.11 something holds it.
    const auto type = read_type_name(memory_, layout_, **value);
    if (!type || *type != kHolder) return **value;
    return memory_.read_pointer(**value + layout_.pyobject.struct_size).value_or(RemoteAddr{});
}

RunningLoop TaskLists::running_loop(RemoteAddr thread_state) const {
    const auto pointer = [&](std::uint64_t offset) {
        return memory_.read_pointer(thread_state + offset).value_or(RemoteAddr{});
    };
    RunningLoop running;
    switch (layout_.running_loop) {
        case RunningLoopPlace::kThreadDict:
            running.loop = loop_in_dict(thread_state);
            break;
        case RunningLoopPlace::kBehindThreadState:
            running.loop = pointer(layout_.thread_state.struct_size);
            break;
        case RunningLoopPlace::kPublished:
            if (!published_) return running;
            running.loop = pointer(published_->running_loop);
            running.running_task = pointer(published_->running_task);
            break;
    }
    if (!running.loop || running.running_task || !current_tasks_) return running;
    (void)for_each_dict_item(memory_, layout_, current_tasks_, kMostLoops,
                             [&](RemoteAddr loop, RemoteAddr task) {
                                 if (loop != running.loop) return true;
                                 running.running_task = task;
                                 return false;
                             });
    return running;
}

}  // namespace pystack::cpython
