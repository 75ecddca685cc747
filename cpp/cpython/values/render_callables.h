#pragma once

#include "cpython/values/rendering.h"

namespace pystack::cpython {

/// Classes, modules, functions, methods, descriptors and generators, by name.
Result<void> render_callable(Rendering& rendering, const Value& value);

}  // namespace pystack::cpython
