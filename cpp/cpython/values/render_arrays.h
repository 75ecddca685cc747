#pragma once

#include "cpython/values/rendering.h"

namespace pystack::cpython {

/// numpy.ndarray by dtype, shape and the first elements; numpy's scalars by class and value. Only
/// members that lie alike in numpy 1 and 2 are looked at; elements of other types than numbers are
/// not shown.
Result<void> render_numpy(Rendering& rendering, const Value& value);

}  // namespace pystack::cpython
