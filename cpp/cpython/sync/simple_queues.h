#pragma once

#include <cstddef>
#include <span>
#include <vector>

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

/// What is in a SimpleQueue of `_queue`, the next item first; at most `most` items.
std::vector<RemoteAddr> simple_queue_items(const memory::MemoryReader& memory, const Layout& layout,
                                           TypeCache& types, RemoteAddr queue, std::size_t most);

}  // namespace pystack::cpython
