#include "cpython/tasks/task_name.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "cpython/objects/objects.h"

namespace pystack::cpython {

namespace {

constexpr std::size_t kMaxName = 256;

/// Bytes of a compact str before its text, which depend on the build and on whether it is ASCII.
std::size_t str_head(const Layout& layout, std::string_view text) {
    const auto is_ascii = [](char c) { return static_cast<unsigned char>(c) < 0x80; };
    const auto& fields = layout.unicode_object;
    return std::all_of(text.begin(), text.end(), is_ascii) ? *fields.asciiobject_size
                                                           : *fields.compactunicodeobject_size;
}

}  // namespace

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
