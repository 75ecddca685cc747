#include "target/core_files.h"

namespace pystack::target {

namespace {

/// A group without members: the kernel's number for groups that it cannot name.
constexpr gid_t kNoGroup = 65534;

}  // namespace

files::FileRights rights_of_core(std::optional<uid_t> written_by,
                                 std::optional<std::uint32_t> uid) {
    if (!written_by || written_by != uid) return files::FileRights::of_everyone();
    return files::FileRights::of_user({.uid = *written_by, .gid = kNoGroup, .groups = {}});
}

}  // namespace pystack::target
