#pragma once

#include <cstdint>
#include <optional>

namespace pystack::waits {

/// The inode of the socket that this unix socket of our network namespace is connected to. nullopt:
/// it is not connected, is no unix socket, or the kernel does not tell.
std::optional<std::uint64_t> unix_peer(std::uint64_t socket);

}  // namespace pystack::waits
