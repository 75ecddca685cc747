#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "model/wait.h"

namespace pystack::waits {

/// What the descriptors of a process are, for somebody who asks again and again: the tables of
/// sockets, which are long, are read once for each socket. Not thread-safe.
class DescriptorNames {
  public:
    struct Name {
        model::WaitKind kind = model::WaitKind::kDescriptor;
        std::string text;  ///< Its path, or the peer of a socket; empty if that is not known.
    };

    explicit DescriptorNames(pid_t pid) : pid_(pid) {}

    /// nullopt: the process has no such descriptor. The text of a socket that was not asked about
    /// before is not known until look_up().
    std::optional<Name> find(int fd);
    /// Whether look_up() would find out more.
    bool has_unknown() const { return !unknown_.empty(); }
    /// Reads the tables of sockets.
    void look_up();

  private:
    const pid_t pid_;
    std::unordered_map<std::uint64_t, std::string> sockets_;  ///< By inode.
    std::vector<std::uint64_t> unknown_;                      ///< Inodes.
};

/// The address of a socket that stays the same for all connections to one service: that of its
/// peer, else its own. `text` is that of find_sockets; "" for a unix socket without a path.
std::string peer_of(std::string_view text);

}  // namespace pystack::waits
