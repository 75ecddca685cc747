#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "waits/descriptors.h"

namespace pystack::waits {

/// One end of a pipe, or a socket, that processes can have open.
struct FileEnd {
    std::string link;          ///< As /proc/PID/fd says: "pipe:[4711]", or the path of a FIFO.
    std::uint64_t device = 0;  ///< Of a FIFO, as paths are not unique.
    std::uint64_t inode = 0;
    bool writes = false;  ///< Of a pipe or FIFO: the end that is written to, or the other.
};

/// As many processes are found of one end.
inline constexpr std::size_t kMostUsers = 8;

/// The other end of a pipe, a FIFO or a connected unix socket for which `pid` is blocked in this
/// system call. nullopt: it is something else, or in a network namespace that is not ours.
std::optional<FileEnd> other_end(pid_t pid, const Descriptor& file, std::string_view call);

/// Whether only those who have it can hand it on: a FIFO can be opened by others.
bool is_private(const FileEnd& end);

struct EndUsers {
    /// The processes that have each of the ends open, in the order of the ends. Empty where there
    /// are none, or too many files to look at.
    std::vector<std::vector<pid_t>> pids;
    /// Whether all processes that are visible here could be looked at.
    bool complete = true;
};
EndUsers find_users(std::span<const FileEnd> ends);

}  // namespace pystack::waits
