#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "files/file_descriptor.h"

namespace pystack::files {

/// Follows paths component by component, from open folder to open folder, with no folder's name
/// asked for twice. What is above a folder is what was passed on the way to it and not what the
/// kernel says, so that folders which are moved meanwhile do not lead out of the root.
class PathWalk {
  public:
    enum class Check : bool {
        kKernel,    ///< The kernel's, for the calling thread.
        kEveryone,  ///< Only through folders that everyone may search, to what everyone may read.
    };

    /// `root` must outlive it. Relative paths begin there.
    PathWalk(const FileDescriptor& root, Check check) : root_(root.get()), check_(check) {}

    /// Relative paths begin in `folder` from now on. Its parents are those between it and the root;
    /// none if it does not lie below the root.
    Result<void> enter(const FileDescriptor& folder);

    /// A descriptor (O_PATH) of what the path leads to, which is no link. Ends the walk.
    Result<FileDescriptor> find(const std::string& path);

  private:
    int here() const { return passed_.empty() ? root_ : passed_.back().get(); }
    void go_to_root();
    Result<void> step(const std::string& name);
    Result<void> follow(int link);

    int root_;
    Check check_;
    std::vector<FileDescriptor> passed_;  ///< From below the root to where the walk is.
    bool is_below_root_ = true;           ///< What was passed begins there.
    std::vector<std::string> ahead_;      ///< The next one last.
    int links_ = 0;
};

}  // namespace pystack::files
