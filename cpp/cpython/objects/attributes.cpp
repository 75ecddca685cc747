#include "cpython/objects/attributes.h"

#include "cpython/objects/instance_attributes.h"

namespace pystack::cpython {

RemoteAddr Attributes::get(RemoteAddr object, std::string_view name) {
    if (!object) return {};
    const auto type = types_.of(object);
    if (!type) return {};
    for (const SlotMember& slot : types_.slots(**type)) {
        if (slot.name == name)
            return memory_.read_pointer(object + slot.offset).value_or(RemoteAddr{});
    }
    const auto held = instance_attribute(memory_, layout_, object, name);
    return held ? held->value_or(RemoteAddr{}) : RemoteAddr{};
}

}  // namespace pystack::cpython
