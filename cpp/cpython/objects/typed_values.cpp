#include "cpython/objects/typed_values.h"

#include "cpython/objects/objects.h"

namespace pystack::cpython {

bool is_a(TypeCache& types, RemoteAddr object, ValueKind kind) {
    if (!object) return false;
    const auto type = types.of(object);
    return type && (*type)->kind == kind;
}

std::optional<double> float_value(const memory::MemoryReader& memory, const Layout& layout,
                                  TypeCache& types, RemoteAddr object) {
    if (!layout.float_object.ob_fval || !is_a(types, object, ValueKind::kFloat))
        return std::nullopt;
    const auto value = memory.read_value<double>(object + *layout.float_object.ob_fval);
    return value ? std::optional(*value) : std::nullopt;
}

std::optional<std::int64_t> int_value(const memory::MemoryReader& memory, const Layout& layout,
                                      TypeCache& types, RemoteAddr object) {
    if (!is_a(types, object, ValueKind::kInt)) return std::nullopt;
    return read_int64(memory, layout, object).value_or(std::nullopt);
}

}  // namespace pystack::cpython
