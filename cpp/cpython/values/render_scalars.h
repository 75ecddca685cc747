#pragma once

#include "cpython/values/rendering.h"

namespace pystack::cpython {

/// None, Ellipsis, bool, int, float, complex, str, bytes, bytearray and subclasses of them.
Result<void> render_scalar(Rendering& rendering, const Value& value);

/// The beginning of a str as repr() writes it, and how much more there is.
Result<void> render_str(Rendering& rendering, RemoteAddr str);

}  // namespace pystack::cpython
