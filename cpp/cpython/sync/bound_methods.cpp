#include "cpython/sync/bound_methods.h"

namespace pystack::cpython {

RemoteAddr self_or_object(const memory::MemoryReader& memory, const Layout& layout,
                          TypeCache& types, RemoteAddr object) {
    const auto type = types.of(object);
    if (!type) return {};
    FieldOffset self;
    if ((*type)->kind == ValueKind::kBuiltin) self = layout.cfunction_object.m_self;
    if ((*type)->kind == ValueKind::kMethod) self = layout.method_object.im_self;
    return self ? memory.read_pointer(object + *self).value_or(RemoteAddr{}) : object;
}

}  // namespace pystack::cpython
