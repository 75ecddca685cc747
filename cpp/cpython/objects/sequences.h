#pragma once

#include <cstddef>
#include <vector>

#include "base/address.h"
#include "cpython/layout/layout.h"
#include "cpython/objects/value_types.h"
#include "memory/memory_reader.h"

namespace pystack::cpython {

/// The first items of a list, at most `most`: as far as they can be read, none if it is no list.
std::vector<RemoteAddr> list_items(const memory::MemoryReader& memory, const Layout& layout,
                                   TypeCache& types, RemoteAddr list, std::size_t most);

/// The same of a collections.deque.
std::vector<RemoteAddr> deque_items(const memory::MemoryReader& memory, const Layout& layout,
                                    TypeCache& types, RemoteAddr deque, std::size_t most);

}  // namespace pystack::cpython
