#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>

#include "files/file_rights.h"

namespace pystack::target {

/// With whose rights files of this machine are opened that a core names: its modules, their debug
/// files, source files. (What the tool's user names as an option is opened with the caller's.)
///
/// All that is in a core can be made up by who wrote the file, its process's user id as well. So
/// the rights are those of the user who alone can have written it (`written_by`, see
/// files::sole_writer), and only if the core says that it is about a process of that user (`uid`).
/// His groups are not known: the core names one, and anybody can write a number there. In all other
/// cases only what everyone may read is opened. That holds for all cores of root's as well: the
/// kernel writes 0 for processes that are root in a user namespace only, and root copies and
/// downloads files of others.
files::FileRights rights_of_core(std::optional<uid_t> written_by, std::optional<std::uint32_t> uid);

}  // namespace pystack::target
