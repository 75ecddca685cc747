#pragma once

#include <optional>

#include "base/address.h"
#include "cpython/layout/layout.h"
#include "memory/remote_struct.h"

namespace pystack::cpython {

/// The end of the value stack that a frame has saved: the address behind the topmost value. nullopt
/// if the frame has saved none, because it runs, or `frame`, which begins with the frame's first
/// byte, does not reach that far.
std::optional<RemoteAddr> saved_stack_top(const Layout& layout, const memory::RemoteStruct& frame);

}  // namespace pystack::cpython
