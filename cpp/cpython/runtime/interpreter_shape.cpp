#include "cpython/runtime/interpreter_shape.h"

#include "cpython/objects/builtin_types.h"
#include "cpython/objects/objects.h"

namespace pystack::cpython {

using memory::MemoryReader;

namespace {

constexpr int kMaxLooks = 1000;

bool is_dict(const MemoryReader& memory, const Layout& layout, RemoteAddr address_of_pointer) {
    const auto object = memory.read_pointer(address_of_pointer);
    if (!object || !*object) return false;
    const auto type = read_type(memory, layout, *object);
    return type && is_dict_type(memory, layout, *type);
}

}  // namespace

bool is_interpreter(const MemoryReader& memory, const Layout& layout, RemoteAddr interpreter) {
    const auto& fields = layout.interpreter_state;
    for (int i = 0; i < kMaxLooks; ++i) {
        if (!interpreter || interpreter.value % alignof(void*) != 0) return false;
        const auto thread = memory.read_pointer(interpreter + *fields.threads_head);
        if (!thread || thread->value % alignof(void*) != 0) return false;
        if (*thread) {
            const auto back = memory.read_pointer(*thread + *layout.thread_state.interp);
            return back && *back == interpreter;
        }
        // From 3.13 on, one that runs nothing has no thread state.
        interpreter = memory.read_pointer(interpreter + *fields.next).value_or(RemoteAddr{});
    }
    return false;
}

bool has_interpreter_dicts(const MemoryReader& memory, const Layout& layout,
                           RemoteAddr interpreter) {
    const auto& fields = layout.interpreter_state;
    for (int i = 0; i < kMaxLooks && interpreter; ++i) {
        if (is_dict(memory, layout, interpreter + *fields.sysdict) &&
            is_dict(memory, layout, interpreter + *fields.builtins)) {
            return true;
        }
        interpreter = memory.read_pointer(interpreter + *fields.next).value_or(RemoteAddr{});
    }
    return false;
}

}  // namespace pystack::cpython
