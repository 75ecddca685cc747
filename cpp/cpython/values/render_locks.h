#pragma once

#include "cpython/values/rendering.h"

namespace pystack::cpython {

/// Locks and what the threading and queue modules build of them, with their state: as repr() of
/// 3.15 where that shows it.
Result<void> render_lock(Rendering& rendering, const Value& value);

}  // namespace pystack::cpython
