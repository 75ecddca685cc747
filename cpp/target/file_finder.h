#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "elf/shared_path.h"
#include "files/file_opener.h"
#include "files/file_rights.h"
#include "files/regular_file.h"

namespace pystack::target {

/// Where to look for the files that a core names. All of it is what the tool's user named.
struct FileSearch {
    std::optional<std::string> executable;  ///< The user's word for the main program.
    std::vector<std::string> folders;  ///< Searched by base name, not recursively, in this order.
    std::optional<std::string>
        root;  ///< A copy of the target's root, or a folder searched recursively.
};

/// A place where a file may be.
struct FileCandidate {
    std::string path;                               ///< As this machine sees it, for messages.
    std::shared_ptr<const files::FileOpener> door;  ///< Null: the user named the path.
    std::string name;                               ///< Of the file behind the door.
    /// It is opened with more rights than who wrote the core is known to have, or outside of the
    /// root that was searched. Only a file whose build id the core knows may be used: who does not
    /// have a file cannot know it.
    bool must_be_known = false;

    Result<files::FileDescriptor> open() const {
        return door ? door->open(name) : files::open_named(path);
    }
};

/// Lists the places where a file of another machine may be on this one. It does not open them.
class FileFinder {
  public:
    /// `wanted` are the paths that may be asked for: the one walk over the root collects only these
    /// names. Paths of the core's are opened with `rights`.
    FileFinder(FileSearch search, std::vector<elf::SharedPath> wanted,
               const files::FileRights& rights);

    /// Candidates in the order in which they should be tried; each is asked for when the ones
    /// before did not do, so that the root is walked only if it must be. nullopt when there are no
    /// more.
    std::optional<FileCandidate> candidate(const std::string& path, std::size_t index);

  private:
    FileCandidate behind_door(std::size_t door,
                              const std::shared_ptr<const files::FileOpener>& files,
                              const std::string& path, const std::string& name) const;
    void walk_root();

    FileSearch search_;
    std::vector<elf::SharedPath> wanted_;
    std::shared_ptr<const files::FileOpener> core_files_;
    std::shared_ptr<const files::FileOpener> all_files_;   ///< With the caller's rights.
    std::shared_ptr<const files::FileOpener> root_files_;  ///< Below search_.root.
    /// Paths below search_.root by base name.
    std::optional<std::map<std::string, std::vector<std::string>, std::less<>>> index_;
};

}  // namespace pystack::target
