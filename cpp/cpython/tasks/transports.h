#pragma once

#include <optional>
#include <string>

#include "base/address.h"
#include "cpython/layout/layout.h"
#include "cpython/objects/value_types.h"
#include "memory/memory_reader.h"

namespace pystack::cpython {

/// Whom a stream reader or a protocol of asyncio is connected to, by what its transport has noted
/// as "peername": "10.0.0.5:5432", "[::1]:80", a path. nullopt where it is not known, as of the
/// transports of uvloop and the clients of unix sockets.
std::optional<std::string> stream_peer(const memory::MemoryReader& memory, const Layout& layout,
                                       TypeCache& types, RemoteAddr object);

}  // namespace pystack::cpython
