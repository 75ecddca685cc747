#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace pystack::target {

/// Where to look for the files that a core names.
struct FileSearch {
    std::optional<std::string> executable;  ///< The user's word for the main program.
    std::vector<std::string> folders;  ///< Searched by base name, not recursively, in this order.
    std::optional<std::string>
        root;  ///< A copy of the target's root, or a folder searched recursively.
};

/// Lists the places where a file of another machine may be on this one. It does not open them.
class FileFinder {
  public:
    /// `wanted` are the paths that may be asked for: the one walk over the root collects only these
    /// names.
    FileFinder(FileSearch search, std::vector<std::string> wanted)
        : search_(std::move(search)), wanted_(std::move(wanted)) {}

    /// Candidates in the order in which they should be tried; each is asked for when the ones
    /// before did not do, so that the root is walked only if it must be. nullopt when there are no
    /// more.
    std::optional<std::string> candidate(const std::string& path, std::size_t index);

  private:
    void walk_root();

    FileSearch search_;
    std::vector<std::string> wanted_;
    std::optional<std::multimap<std::string, std::string, std::less<>>> index_;  ///< By base name.
};

/// The part behind the last slash.
std::string_view base_name(std::string_view path);

}  // namespace pystack::target
