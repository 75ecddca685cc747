#pragma once

#include <sys/types.h>

#include <cstdint>
#include <span>
#include <string>
#include <vector>

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

/// Whether only those who have the pipe can hand it on: a FIFO can be opened by others.
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
