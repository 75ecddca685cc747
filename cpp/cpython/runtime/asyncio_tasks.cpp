#include "cpython/runtime/asyncio_tasks.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "base/text.h"
#include "cpython/objects/objects.h"

namespace pystack::cpython {

namespace {

constexpr std::size_t kMaxName = 256;
constexpr std::uint64_t kMostOffset = 64 * 1024;

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

bool is_field(std::uint64_t offset, std::uint64_t size) {
    return size <= kMostOffset && size >= sizeof(std::uint64_t) &&
           offset <= size - sizeof(std::uint64_t) && offset % sizeof(std::uint64_t) == 0;
}

/// Bytes of a compact str before its text, which depend on the build and on whether it is ASCII.
std::size_t str_head(const Layout& layout, std::string_view text) {
    const auto is_ascii = [](char c) { return static_cast<unsigned char>(c) < 0x80; };
    const auto& fields = layout.unicode_object;
    return std::all_of(text.begin(), text.end(), is_ascii) ? *fields.asciiobject_size
                                                           : *fields.compactunicodeobject_size;
}

/// The module is a library of its own, or part of the interpreter.
bool may_hold_asyncio(const elf::Module& module, const Runtime& runtime) {
    const std::string_view path = module.path;
    return path == runtime.binary || base_name(path).starts_with("_asyncio.");
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
        if (!table || !is_field(table->task.name, table->task.size) ||
            !is_field(table->thread.running_task, table->thread.size)) {
            continue;
        }
        return AsyncioOffsets{
            .running_task = static_cast<std::uint32_t>(table->thread.running_task),
            .task_name = static_cast<std::uint32_t>(table->task.name)};
    }
    return std::nullopt;
}

std::optional<TaskName> read_task_name(const memory::MemoryReader& memory, const Layout& layout,
                                       RemoteAddr name) {
    const auto type = read_type(memory, layout, name);
    if (!type) return std::nullopt;
    const auto flags = read_type_flags(memory, layout, *type);
    if (!flags) return std::nullopt;
    if ((*flags & TypeFlags::kUnicode) != 0) {
        auto text = read_str_prefix(memory, layout, name, kMaxName);
        if (!text) return std::nullopt;
        const std::size_t bytes = str_head(layout, text->text) + text->text.size();
        return TaskName{.text = std::move(text->text), .bytes = bytes};
    }
    if ((*flags & TypeFlags::kLong) == 0) return std::nullopt;
    // Its text is made when it is asked for [task_get_name].
    const auto number = read_int64(memory, layout, name);
    if (!number || !*number) return std::nullopt;
    return TaskName{.text = "Task-" + std::to_string(**number), .bytes = int64_object_size(layout)};
}

}  // namespace pystack::cpython
