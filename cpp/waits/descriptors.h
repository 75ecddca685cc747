#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "model/wait.h"

namespace pystack::waits {

/// What a file descriptor of a running process is.
struct Descriptor {
    model::WaitKind kind = model::WaitKind::kDescriptor;
    std::string target;  ///< Its path, or the addresses and the state of a socket; may be empty.
    std::string link;    ///< As /proc/PID/fd has it: "pipe:[4711]".
    std::uint64_t device = 0;
    std::uint64_t inode = 0;
};

/// nullopt: the process has no such descriptor. A socket has no target, since the tables of sockets
/// are not read.
std::optional<Descriptor> describe_descriptor(pid_t pid, int fd);

/// In the order of `fds`; nullopt where the process has no such descriptor any more. Sockets are
/// looked up in the network namespace of the process.
std::vector<std::optional<Descriptor>> describe_descriptors(pid_t pid, std::span<const int> fds);

/// The process that holds a lock of the file; nullopt if none does that is visible here.
std::optional<pid_t> lock_owner(const Descriptor& file);

/// The command line of a process, or its name if it has none, for a human; empty if it has ended.
std::string command_of(pid_t pid);

}  // namespace pystack::waits
