#pragma once

#include <string>

#include "cpython/layout/layout.h"

namespace pystack::cpython {

/// The whole layout as one JSON object: version, flags, formats by name, and for each section that
/// exists its struct_size and the offsets of the fields that exist.
std::string layout_to_json(const Layout& layout);

}  // namespace pystack::cpython
