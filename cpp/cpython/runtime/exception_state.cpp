#include "cpython/runtime/exception_state.h"

#include "cpython/objects/objects.h"

namespace pystack::cpython {

namespace {

using memory::MemoryReader;

/// Nested generators each have an item of their own; far fewer than this.
constexpr int kMaxItems = 1000;
constexpr std::size_t kMaxTypeName = 1024;
constexpr std::string_view kNoneType = "NoneType";

std::optional<std::string> raising(const MemoryReader& memory, const Layout& layout,
                                   RemoteAddr thread) {
    if (const auto field = layout.thread_state.current_exception) {
        const auto exception = memory.read_pointer(thread + *field);
        if (!exception || !*exception) return std::nullopt;
        const auto name = read_type_name(memory, layout, *exception);
        return name ? std::optional(*name) : std::nullopt;
    }
    if (const auto field = layout.thread_state.exc_type) {
        const auto type = memory.read_pointer(thread + *field);
        if (!type || !*type) return std::nullopt;
        const auto text = memory.read_pointer(*type + *layout.type_object.tp_name);
        if (!text) return std::nullopt;
        const auto name = memory.read_c_string(*text, kMaxTypeName);
        return name ? std::optional(*name) : std::nullopt;
    }
    return std::nullopt;
}

/// The type of an exception object; nullopt for none, which is a null pointer or None.
std::optional<std::string> type_of(const MemoryReader& memory, const Layout& layout,
                                   RemoteAddr exception) {
    if (!exception) return std::nullopt;
    const auto name = read_type_name(memory, layout, exception);
    return name && *name != kNoneType ? std::optional(*name) : std::nullopt;
}

/// The innermost item that holds an exception, as _PyErr_GetTopmostException [Python/errors.c].
std::optional<std::string> handling(const MemoryReader& memory, const Layout& layout,
                                    RemoteAddr thread) {
    if (layout.thread_state.handled_value) {
        const auto exception = memory.read_pointer(thread + *layout.thread_state.handled_value);
        return exception ? type_of(memory, layout, *exception) : std::nullopt;
    }
    const auto& fields = layout.err_stackitem;
    if (!layout.thread_state.exc_info || !fields.exc_value || !fields.previous_item)
        return std::nullopt;
    auto item = memory.read_pointer(thread + *layout.thread_state.exc_info);
    for (int i = 0; i < kMaxItems && item && *item; ++i) {
        const auto exception = memory.read_pointer(*item + *fields.exc_value);
        if (!exception) return std::nullopt;
        if (auto name = type_of(memory, layout, *exception)) return name;
        item = memory.read_pointer(*item + *fields.previous_item);
    }
    return std::nullopt;
}

}  // namespace

ExceptionState read_exceptions(const MemoryReader& memory, const Layout& layout,
                               RemoteAddr thread_state) {
    return {.raising = raising(memory, layout, thread_state),
            .handling = handling(memory, layout, thread_state)};
}

}  // namespace pystack::cpython
