#pragma once

#include <memory>
#include <optional>
#include <string>

#include "base/result.h"
#include "files/file_descriptor.h"
#include "files/file_opener.h"
#include "files/file_rights.h"

namespace pystack::files {

/// A folder that is taken for the root of all paths, as a process in a chroot or a container sees
/// it. Neither "..", nor links, nor folders that are moved meanwhile lead out of it.
class FileRoot final : public FileOpener {
  public:
    /// The folder is opened with the caller's rights (/proc/PID/root is a link that leads to the
    /// root of that process); `rights` are those of the files.
    static Result<FileRoot> at(const std::string& folder, FileRights rights);

    /// The folder in which relative paths begin. If it is not below the root, ".." does not leave
    /// it.
    void set_working_folder(FileDescriptor folder) { working_folder_ = std::move(folder); }

    /// A relative path is not found if there is no working folder.
    Result<FileDescriptor> open(const std::string& path) const override;
    /// The same, for what everyone may read.
    Result<FileDescriptor> open_as_everyone(const std::string& path) const;

    const FileRights& rights() const { return rights_; }

  private:
    FileRoot(FileDescriptor root, FileRights rights)
        : root_(std::move(root)), rights_(std::move(rights)) {}

    Result<FileDescriptor> open_here(const std::string& path) const;

    FileDescriptor root_;
    FileDescriptor working_folder_;
    FileRights rights_;
};

/// A FileRoot to be shared; one without files if the folder cannot be opened.
std::shared_ptr<const FileOpener> files_below(const std::string& folder, FileRights rights,
                                              const char* working_folder = nullptr);

}  // namespace pystack::files
