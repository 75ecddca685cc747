#pragma once

#include <sys/types.h>

#include <optional>

#include "files/file_descriptor.h"

namespace pystack::files {

/// The one user who can have written what is in a file: its owner, if nobody else may write to it.
/// Of a file that systemd-coredump wrote for root, the user whose process it is about. nullopt if
/// that is root: root's files hold anybody's data (a copy, a download, a core of a process that
/// calls itself root in a user namespace).
std::optional<uid_t> sole_writer(const FileDescriptor& file);

}  // namespace pystack::files
