#include "cpython/objects/callbacks.h"

#include "cpython/objects/objects.h"

namespace pystack::cpython {

namespace {

constexpr std::uint64_t kWordBytes = 8;
constexpr std::size_t kMostName = 128;
constexpr std::size_t kMostSubjects = 32;

}  // namespace

bool Callbacks::is_partial(RemoteAddr callback) {
    const auto type = types_.of(callback);
    return type && (*type)->tp_name == "functools.partial";
}

/// partialobject {head; fn; args; ...} [Modules/_functoolsmodule.c].
RemoteAddr Callbacks::function_of(RemoteAddr callback) {
    const auto type = types_.of(callback);
    if (!type) return {};
    if ((*type)->kind == ValueKind::kFunction) return callback;
    if ((*type)->kind == ValueKind::kMethod && layout_.method_object.im_func) {
        return memory_.read_pointer(callback + *layout_.method_object.im_func)
            .value_or(RemoteAddr{});
    }
    if (is_partial(callback)) {
        return memory_.read_pointer(callback + layout_.pyobject.struct_size).value_or(RemoteAddr{});
    }
    return {};
}

std::string Callbacks::function_name(RemoteAddr callback) {
    const RemoteAddr function = function_of(callback);
    return function ? qualified_name(function) : std::string();
}

std::string Callbacks::qualified_name(RemoteAddr function) {
    const FieldOffset field = layout_.function_object.func_qualname;
    if (!field) return {};
    const auto type = types_.of(function);
    if (!type || (*type)->kind != ValueKind::kFunction) return {};
    const auto name = memory_.read_pointer(function + *field);
    return name ? read_str(memory_, layout_, *name, kMostName).value_or("") : "";
}

std::vector<RemoteAddr> Callbacks::subjects(RemoteAddr callback) {
    std::vector<RemoteAddr> objects;
    const auto type = types_.of(callback);
    if (!type) return objects;
    if ((*type)->kind == ValueKind::kMethod && layout_.method_object.im_self) {
        if (const auto self = memory_.read_pointer(callback + *layout_.method_object.im_self))
            objects.push_back(*self);
        return objects;
    }
    if (is_partial(callback)) {
        const auto arguments =
            memory_.read_pointer(callback + layout_.pyobject.struct_size + kWordBytes);
        if (!arguments) return objects;
        return read_tuple_items(memory_, layout_, *arguments, kMostSubjects).value_or(objects);
    }
    const FieldOffset closure_field = layout_.function_object.func_closure;
    if ((*type)->kind != ValueKind::kFunction || !closure_field || !layout_.cell_object.ob_ref)
        return objects;
    const auto closure = memory_.read_pointer(callback + *closure_field);
    if (!closure || !*closure) return objects;
    const auto cells = read_tuple_items(memory_, layout_, *closure, kMostSubjects);
    if (!cells) return objects;
    for (const RemoteAddr cell : *cells) {
        const auto content = memory_.read_pointer(cell + *layout_.cell_object.ob_ref);
        if (content && *content) objects.push_back(*content);
    }
    return objects;
}

}  // namespace pystack::cpython
