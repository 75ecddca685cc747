#pragma once

#include "cpython/values/rendering.h"

namespace pystack::cpython {

/// An instance of a class of the program, by its slots and attributes; anything else by its class
/// and address.
Result<void> render_instance(Rendering& rendering, const Value& value);
/// `<Class.NAME: value>`, the standard repr().
Result<void> render_enum_member(Rendering& rendering, const Value& value);
/// `Class(argument, ...)` from the args.
Result<void> render_exception(Rendering& rendering, const Value& value);

/// The attributes of an instance of a subclass of a built-in, `, name=value` each, behind its
/// content.
void append_more_attributes(Rendering& rendering, const Value& value);

/// `<module.Class at 0x...>`.
void append_address_form(Rendering& rendering, const Value& value);
void append_address(Rendering& rendering, RemoteAddr address);

}  // namespace pystack::cpython
