#include "cpython/sync/object_names.h"

#include <algorithm>

#include "cpython/objects/dict_objects.h"
#include "cpython/objects/instance_attributes.h"
#include "cpython/objects/objects.h"
#include "cpython/objects/repr_strings.h"

namespace pystack::cpython {

namespace {

constexpr std::size_t kMostName = 256;
constexpr std::size_t kMostAttributes = 500;
constexpr std::size_t kMostGlobals = 5000;
constexpr std::size_t kMostVariables = 100;

}  // namespace

std::string ObjectNames::text(RemoteAddr str) const {
    const auto type = types_.of(str);
    if (!type || (*type)->kind != ValueKind::kStr) return {};
    const auto name = read_str_prefix(memory_, layout_, str, kMostName);
    return name ? escaped_name(name->text) : std::string();
}

std::vector<ObjectNames::Variable> ObjectNames::variables(const Code& code, const RawFrame& frame,
                                                          const FrameObjects& objects) {
    std::vector<Variable> found;
    CodeVariables declared;
    if (!read_code_variables(memory_, layout_, code, declared)) return found;
    for (const CodeVariables::Slot& slot : declared.slots) {
        if (found.size() >= kMostVariables) break;
        const RemoteAddr value = objects.variable(memory_, code, frame, slot.index, types_);
        if (value) found.push_back({escaped_name(slot.name), value});
    }
    return found;
}

std::string ObjectNames::find_attribute(RemoteAddr object, RemoteAddr instance) {
    const auto type = types_.of(instance);
    if (!type || !(*type)->heap || (*type)->kind == ValueKind::kClass) return {};
    for (const SlotMember& slot : types_.slots(**type)) {
        const auto value = memory_.read_pointer(instance + slot.offset);
        if (value && *value == object) return (*type)->name + '.' + slot.name;
    }
    const auto tables = read_attribute_tables(memory_, layout_, std::span(&instance, 1));
    if (!tables.front() || !*tables.front()) return {};
    std::string name;
    (void)for_each_table_item(memory_, layout_, **tables.front(), kMostAttributes,
                              [&](RemoteAddr key, RemoteAddr value) {
                                  if (value == object) name = text(key);
                                  return value != object;
                              });
    return name.empty() ? name : (*type)->name + '.' + name;
}

std::string ObjectNames::find_in_dict(RemoteAddr object, RemoteAddr dict) {
    const auto type = types_.of(dict);
    if (!type || (*type)->kind != ValueKind::kDict) return {};
    std::string name;
    (void)for_each_dict_item(memory_, layout_, dict, kMostGlobals,
                             [&](RemoteAddr key, RemoteAddr value) {
                                 if (value == object) name = text(key);
                                 return value != object;
                             });
    return name;
}

std::string ObjectNames::find(RemoteAddr object, const Code& code, const RawFrame& frame,
                              const FrameObjects& objects) {
    const auto known = variables(code, frame, objects);
    // An attribute says more than the variable that it was copied to.
    for (const Variable& variable : known) {
        std::string name = find_attribute(object, variable.value);
        if (!name.empty()) return name;
    }
    if (const FieldOffset field = layout_.interpreter_frame.globals) {
        const auto globals = memory_.read_pointer(frame.address + *field);
        std::string name = globals ? find_in_dict(object, *globals) : std::string();
        if (!name.empty()) return name;
    }
    const auto variable = std::ranges::find(known, object, &Variable::value);
    return variable == known.end() ? std::string() : variable->name;
}

}  // namespace pystack::cpython
