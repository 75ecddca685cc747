#pragma once

#include "base/address.h"
#include "cpython/layout/layout.h"
#include "cpython/objects/value_types.h"
#include "memory/memory_reader.h"

namespace pystack::cpython {

/// The self of a bound method, or of a bound function of C; of other objects, the object. Null if
/// it cannot be read.
RemoteAddr self_or_object(const memory::MemoryReader& memory, const Layout& layout,
                          TypeCache& types, RemoteAddr object);

}  // namespace pystack::cpython
