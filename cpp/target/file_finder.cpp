#include "target/file_finder.h"

#include <filesystem>
#include <iterator>
#include <set>
#include <system_error>

namespace pystack::target {

namespace {

/// Bounds of the walk: a whole system has about a million files, and folders some twenty levels
/// deep.
constexpr std::size_t kMaxEntries = 4'000'000;
constexpr int kMaxDepth = 64;

}  // namespace

std::string_view base_name(std::string_view path) {
    const std::size_t slash = path.rfind('/');
    return slash == std::string_view::npos ? path : path.substr(slash + 1);
}

std::optional<std::string> FileFinder::candidate(const std::string& path, std::size_t index) {
    if (index == 0) return path;
    --index;
    const std::string name(base_name(path));
    if (name.empty()) return std::nullopt;
    if (index < search_.folders.size()) return search_.folders[index] + "/" + name;
    index -= search_.folders.size();

    if (!search_.root) return std::nullopt;
    if (index == 0) return *search_.root + "/" + path;
    --index;
    if (!index_) walk_root();
    const auto [first, last] = index_->equal_range(name);
    if (index >= static_cast<std::size_t>(std::distance(first, last))) return std::nullopt;
    return std::next(first, static_cast<std::ptrdiff_t>(index))->second;
}

void FileFinder::walk_root() {
    namespace fs = std::filesystem;
    index_.emplace();
    std::set<std::string_view, std::less<>> names;
    for (const std::string& path : wanted_) names.insert(base_name(path));

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
        if (names.contains(name) && entry->is_regular_file(dangling)) found.emplace(name, path);
        entry.increment(error);
    }
    for (const auto& [name, path] : found) index_->emplace(name, path);
}

}  // namespace pystack::target
