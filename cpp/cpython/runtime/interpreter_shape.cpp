#include "cpython/runtime/interpreter_shape.h"

#include "cpython/objects/builtin_types.h"
#include "cpython/objects/objects.h"

namespace pystack::cpython {

using memory::MemoryReader;

namespace {

bool is_dict(const MemoryReader& memory, const Layout& layout, RemoteAddr address_of_pointer) {
    const auto object = memory.read_pointer(address_of_pointer);
    if (!object || !*object) return false;
    const auto type = read_type(memory, layout, *object);
    return type && is_dict_type(memory, layout, *type);
}

}  // namespace

bool is_interpreter(const MemoryReader& memory, const Layout& layout, RemoteAddr interpreter) {
    if (!interpreter || interpreter.value % alignof(void*) != 0) return false;
    const auto thread = memory.read_pointer(interpreter + *layout.interpreter_state.threads_head);
    if (!thread || !*thread || thread->value % alignof(void*) != 0) return false;
    const auto back = memory.read_pointer(*thread + *layout.thread_state.interp);
    return back && *back == interpreter;
}

bool has_interpreter_dicts(const MemoryReader& memory, const Layout& layout,
                           RemoteAddr interpreter) {
    constexpr int kMaxLooks = 1000;
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
