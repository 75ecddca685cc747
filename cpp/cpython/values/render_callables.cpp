#include "cpython/values/render_callables.h"

#include "cpython/objects/objects.h"
#include "cpython/objects/repr_strings.h"
#include "cpython/values/render_instances.h"
#include "cpython/values/render_scalars.h"

namespace pystack::cpython {

namespace {

constexpr std::size_t kMaxNameLength = 256;

/// A name kept in a str object; nullopt where there is none.
std::optional<std::string> name_at(Rendering& r, RemoteAddr str) {
    if (!str) return std::nullopt;
    const auto type = r.types.of(str);
    if (!type || (*type)->kind != ValueKind::kStr) return std::nullopt;
    const auto text = read_str_prefix(r.heap, r.layout, str, kMaxNameLength);
    if (!text) return std::nullopt;
    return escaped_name(text->text);
}

Result<void> append_named(Rendering& r, const Value& value, std::string_view what,
                          FieldOffset name) {
    PYSTACK_TRY(str, r.pointer(value, name));
    r.out += '<';
    r.out += what;
    r.out += ' ';
    r.out += name_at(r, str).value_or("?");
    r.out += " at ";
    append_address(r, value.address);
    r.out += '>';
    return {};
}

Result<void> render_class(Rendering& r, const Value& value) {
    PYSTACK_TRY(info, r.types.find(value.address));
    r.out += "<class '" + r.types.full_name(*info) + "'>";
    return {};
}

Result<void> render_module(Rendering& r, const Value& value) {
    PYSTACK_TRY(name, r.pointer(value, r.layout.module_object.md_name));
    const auto text = name_at(r, name);
    if (!text) {
        append_address_form(r, value);
        return {};
    }
    r.out += "<module '" + *text + "'>";
    return {};
}

/// method_repr, Objects/classobject.c.
Result<void> render_method(Rendering& r, const Value& value) {
    PYSTACK_TRY(function, r.pointer(value, r.layout.method_object.im_func));
    PYSTACK_TRY(self, r.pointer(value, r.layout.method_object.im_self));
    std::string name = "?";
    if (const auto type = r.types.of(function);
        type && (*type)->kind == ValueKind::kFunction && r.layout.function_object.func_qualname) {
        const auto str = r.heap.read_pointer(function + *r.layout.function_object.func_qualname);
        if (str) name = name_at(r, *str).value_or(name);
    }
    const Nesting nesting(r, value.address);
    r.out += "<bound method " + name + " of ";
    if (nesting.cycle()) {
        r.out += "...";
    } else {
        r.value(self);
    }
    r.out += '>';
    return {};
}

/// meth_repr, Objects/methodobject.c.
Result<void> render_builtin(Rendering& r, const Value& value) {
    PYSTACK_TRY(definition, r.pointer(value, r.layout.cfunction_object.m_ml));
    PYSTACK_TRY(self, r.pointer(value, r.layout.cfunction_object.m_self));
    // PyMethodDef begins with its name.
    PYSTACK_TRY(name_pointer, r.heap.read_pointer(definition));
    PYSTACK_TRY(name, r.heap.read_c_string(name_pointer, kMaxNameLength));
    const auto type = self ? r.types.of(self) : fail(Error{});
    if (!type || (*type)->kind == ValueKind::kModule) {
        r.out += "<built-in function " + escaped_name(name) + ">";
        return {};
    }
    r.out += "<built-in method " + escaped_name(name) + " of " + (*type)->tp_name + " object at ";
    append_address(r, self);
    r.out += '>';
    return {};
}

/// descr_repr, Objects/descrobject.c.
Result<void> render_descriptor(Rendering& r, const Value& value, std::string_view what) {
    PYSTACK_TRY(owner, r.pointer(value, r.layout.descriptor_object.d_type));
    PYSTACK_TRY(name, r.pointer(value, r.layout.descriptor_object.d_name));
    PYSTACK_TRY(type, r.types.find(owner));
    r.out += '<';
    r.out += what;
    r.out += " '" + name_at(r, name).value_or("?") + "' of '" + type->tp_name + "' objects>";
    return {};
}

}  // namespace

Result<void> render_callable(Rendering& r, const Value& value) {
    switch (value.type.kind) {
        case ValueKind::kClass:
            return render_class(r, value);
        case ValueKind::kModule:
            return render_module(r, value);
        case ValueKind::kMethod:
            return render_method(r, value);
        case ValueKind::kBuiltin:
            return render_builtin(r, value);
        case ValueKind::kMethodDescriptor:
            return render_descriptor(r, value, "method");
        case ValueKind::kSlotWrapper:
            return render_descriptor(r, value, "slot wrapper");
        case ValueKind::kMember:
            return render_descriptor(r, value, "member");
        case ValueKind::kGetSet:
            return render_descriptor(r, value, "attribute");
        case ValueKind::kGenerator:
            return append_named(r, value, "generator object", r.layout.gen_object.gi_qualname);
        case ValueKind::kCoroutine:
            return append_named(r, value, "coroutine object", r.layout.gen_object.gi_qualname);
        case ValueKind::kAsyncGenerator:
            return append_named(r, value, "async_generator object",
                                r.layout.gen_object.gi_qualname);
        default:
            return append_named(r, value, "function", r.layout.function_object.func_qualname);
    }
}

}  // namespace pystack::cpython
