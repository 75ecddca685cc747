#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <string>

#include "base/result.h"
#include "files/file_opener.h"
#include "files/file_root.h"

namespace pystack::target {

/// Opens files by names that a process has chosen, as the process itself would: below its root,
/// relative to its working folder, with the rights of its file system user and groups. A process
/// with the caller's user has the caller's rights.
///
/// Root, folder and rights are those of the time when this is made, which must be before the names
/// are read. If the process runs another program or has other rights by the time when a file is
/// opened, nobody knows whose names they are, and only what everyone may read is opened. Otherwise
/// a process could choose names and then start a setuid program, whose rights would count, or be
/// started by one.
class ProcessFiles final : public files::FileOpener {
  public:
    /// kNoSuchProcess or kPermissionDenied.
    static Result<std::shared_ptr<const ProcessFiles>> of(pid_t pid);

    /// The same rights, but paths as this process sees them.
    Result<std::shared_ptr<const ProcessFiles>> below_our_root() const;

    Result<files::FileDescriptor> open(const std::string& path) const override;
    /// The same, but only a file that belongs to the process's user and was written since the
    /// process started: in a folder that all can write to, it may be somebody else's, or that of an
    /// earlier process with the same pid.
    Result<files::FileDescriptor> open_own(const std::string& path) const;

  private:
    /// What changes when a process starts another program or takes another identity.
    struct State {
        files::UserRights user;
        std::uint64_t start_ticks = 0;
        std::uint64_t stack_begin = 0;  ///< Random for each program that is started.

        bool operator==(const State&) const = default;
    };

    ProcessFiles(pid_t pid, State state, files::FileRoot root)
        : pid_(pid), state_(std::move(state)), root_(std::move(root)) {}

    static Result<State> state_of(pid_t pid);

    pid_t pid_;
    State state_;
    files::FileRoot root_;
};

}  // namespace pystack::target
