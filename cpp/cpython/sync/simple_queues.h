#pragma once

#include <span>

#include "base/address.h"
#include "cpython/layout/layout.h"
#include "cpython/objects/value_types.h"
#include "memory/memory_reader.h"

namespace pystack::cpython {

/// The SimpleQueue (of `_queue`) among `objects`, or whose bound method one of them is, in whose
/// get() a thread waits that is blocked in a futex at this address, which proves it. Null if there
/// is none.
RemoteAddr waited_simple_queue(const memory::MemoryReader& memory, const Layout& layout,
                               TypeCache& types, RemoteAddr futex,
                               std::span<const RemoteAddr> objects);

}  // namespace pystack::cpython
