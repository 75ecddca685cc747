#pragma once

#include "cpython/values/rendering.h"

namespace pystack::cpython {

/// The types of the datetime module in its C implementation, and zoneinfo.ZoneInfo.
Result<void> render_datetime(Rendering& rendering, const Value& value);

}  // namespace pystack::cpython
