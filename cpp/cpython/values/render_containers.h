#pragma once

#include "cpython/values/rendering.h"

namespace pystack::cpython {

/// Sequences, sets, dicts and their kin, ranges and slices, and subclasses of all of them.
Result<void> render_container(Rendering& rendering, const Value& value);

}  // namespace pystack::cpython
