#include "target/file_finder.h"

#include <filesystem>
#include <iterator>
#include <set>
#include <system_error>
#include <utility>

#include "base/text.h"
#include "files/file_root.h"

namespace pystack::target {

namespace {

/// Bounds of the walk: a whole system has about a million files, and folders some twenty levels
/// deep.
constexpr std::size_t kMaxEntries = 4'000'000;
constexpr int kMaxDepth = 64;
/// How often each place is tried: behind its door, and with all the caller's rights.
constexpr std::size_t kDoors = 2;

}  // namespace

FileFinder::FileFinder(FileSearch search, std::vector<elf::SharedPath> wanted,
                       const files::FileRights& rights)
    : search_(std::move(search)),
      wanted_(std::move(wanted)),
      core_files_(files::files_below("/", rights)),
      all_files_(files::files_below("/", files::FileRights::of_caller(), ".")) {
    if (search_.root)
        root_files_ = files::files_below(*search_.root, files::FileRights::of_caller());
}

std::optional<FileCandidate> FileFinder::candidate(const std::string& path, std::size_t index) {
    if (index < kDoors) return behind_door(index, core_files_, path, path);
    index -= kDoors;
    const std::string name(base_name(path));
    if (name.empty()) return std::nullopt;
    if (index < search_.folders.size())
        return FileCandidate{.path = search_.folders[index] + "/" + name};
    index -= search_.folders.size();

    if (!search_.root) return std::nullopt;
    const auto below_root = [&](const std::string& found) {
        const std::string absolute = found.starts_with('/') ? found : "/" + found;
        return behind_door(index % kDoors, root_files_, *search_.root + absolute, absolute);
    };
    if (index < kDoors) return below_root(path);
    const std::size_t place = index / kDoors - 1;
    if (!index_) walk_root();
    const auto found = index_->find(name);
    if (found == index_->end() || place >= found->second.size()) return std::nullopt;
    return below_root(found->second[place]);
}

FileCandidate FileFinder::behind_door(std::size_t door,
                                      const std::shared_ptr<const files::FileOpener>& files,
                                      const std::string& path, const std::string& name) const {
    if (door == 0) return {.path = path, .door = files, .name = name};
    return {.path = path, .door = all_files_, .name = path, .must_be_known = true};
}

void FileFinder::walk_root() {
    namespace fs = std::filesystem;
    index_.emplace();
    std::set<std::string_view, std::less<>> names;
    for (const elf::SharedPath& path : wanted_) names.insert(base_name(path));

    std::error_code error;
    // Links to folders are not followed: a root is full of cycles (/proc/self/root) and of ways out
    // of it.
    fs::recursive_directory_iterator entry(*search_.root,
                                           fs::directory_options::skip_permission_denied, error);
    const fs::recursive_directory_iterator end;
    std::set<std::pair<std::string, std::string>>
        found;  // Sorted: the order of a folder is random.
    for (std::size_t seen = 0; !error && entry != end && seen < kMaxEntries; ++seen) {
        if (entry.depth() >= kMaxDepth) entry.disable_recursion_pending();
        const std::string& path = entry->path().native();
        const std::string_view name = base_name(path);
        std::error_code dangling;
        if (names.contains(name) && entry->is_regular_file(dangling))
            found.emplace(name, path.substr(search_.root->size()));
        entry.increment(error);
    }
    for (const auto& [name, path] : found) (*index_)[name].push_back(path);
}

}  // namespace pystack::target
