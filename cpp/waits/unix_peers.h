#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace pystack::waits {

/// The inodes of the sockets that these unix sockets of our network namespace are connected to, in
/// their order; nullopt for those that are not connected, and where the kernel does not tell.
std::vector<std::optional<std::uint64_t>> find_unix_peers(std::span<const std::uint64_t> inodes);

}  // namespace pystack::waits
