#include "cpython/tasks/asyncio_offsets.h"

#include <algorithm>
#include <initializer_list>
#include <string_view>

#include "base/text.h"

namespace pystack::cpython {

namespace {

constexpr std::uint64_t kWordBytes = 8;
/// Of a task or a thread state; real ones are far smaller.
constexpr std::uint64_t kMostOffset = 64 * 1024;
/// Of an interpreter state, which has the small ints and the free lists inside of it.
constexpr std::uint64_t kMostInterpreterOffset = 4 << 20;

/// struct _Py_AsyncioModuleDebugOffsets: sizes of three structures, and offsets in them.
struct Table {
    struct {
        std::uint64_t size, name, awaited_by, is_task, awaited_by_is_set, coroutine, node;
    } task;
    struct {
        std::uint64_t size, tasks_head;
    } interpreter;
    struct {
        std::uint64_t size, running_loop, running_task, tasks_head;
    } thread;
};

bool is_field(std::uint64_t offset, std::uint64_t size, std::uint64_t most = kMostOffset) {
    return size <= most && size >= kWordBytes && offset <= size - kWordBytes &&
           offset % kWordBytes == 0;
}

bool is_believable(const Table& table) {
    const auto all_fields = [](std::initializer_list<std::uint64_t> offsets, std::uint64_t size) {
        return std::ranges::all_of(offsets, [size](auto offset) { return is_field(offset, size); });
    };
    return all_fields({table.task.name, table.task.awaited_by, table.task.coroutine,
                       table.task.node, table.task.node + kWordBytes},
                      table.task.size) &&
           table.task.awaited_by_is_set < table.task.size &&
           is_field(table.interpreter.tasks_head, table.interpreter.size, kMostInterpreterOffset) &&
           all_fields(
               {table.thread.running_loop, table.thread.running_task, table.thread.tasks_head},
               table.thread.size);
}

/// The module is a library of its own, or part of the interpreter.
bool may_hold_asyncio(const elf::Module& module, const Runtime& runtime) {
    const std::string_view path = module.path;
    return path == runtime.binary || base_name(path).starts_with("_asyncio.");
}

std::uint32_t offset_of(std::uint64_t word) {
    return static_cast<std::uint32_t>(word);
}

}  // namespace

std::optional<AsyncioOffsets> find_asyncio(const target::Target& target, const Runtime& runtime) {
    auto modules = target.modules();
    if (!modules) return std::nullopt;
    for (elf::Module& module : *modules) {
        if (!may_hold_asyncio(module, runtime) || !target.open_module(module)) continue;
        const auto section = module.image->section(".AsyncioDebug");
        if (!section) continue;
        const auto table = target.memory().read_value<Table>({section->address + module.bias});
        if (!table || !is_believable(*table)) continue;
        return AsyncioOffsets{.task_size = offset_of(table->task.size),
                              .task_name = offset_of(table->task.name),
                              .task_coroutine = offset_of(table->task.coroutine),
                              .task_node = offset_of(table->task.node),
                              .task_awaited_by = offset_of(table->task.awaited_by),
                              .task_awaited_by_is_set = offset_of(table->task.awaited_by_is_set),
                              .ended_tasks = offset_of(table->interpreter.tasks_head),
                              .running_loop = offset_of(table->thread.running_loop),
                              .running_task = offset_of(table->thread.running_task),
                              .tasks = offset_of(table->thread.tasks_head)};
    }
    return std::nullopt;
}

}  // namespace pystack::cpython
