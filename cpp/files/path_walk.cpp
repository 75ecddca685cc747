#include "files/path_walk.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <string_view>
#include <utility>

#include "files/regular_file.h"

namespace pystack::files {

namespace {

constexpr int kMaxLinks = 40;  // As the kernel.
/// More than any path of PATH_MAX bytes has; also how far up the root of a working folder may be.
constexpr std::size_t kMaxDepth = PATH_MAX / 2;
constexpr int kPlace = O_PATH | O_NOFOLLOW | O_CLOEXEC;

/// Adds the parts of a path, the first one last.
void add_parts(std::string_view path, std::vector<std::string>& parts) {
    while (!path.empty()) {
        const std::size_t slash = path.rfind('/');
        const std::string_view part =
            slash == std::string_view::npos ? path : path.substr(slash + 1);
        if (!part.empty() && part != ".") parts.emplace_back(part);
        path = path.substr(0, slash == std::string_view::npos ? 0 : slash);
    }
}

bool is_same(const struct stat& a, const struct stat& b) {
    return a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

/// Whether everyone may look up names in a folder.
Result<void> check_search(int folder) {
    struct stat status;
    if (::fstat(folder, &status) != 0) return fail(refusal(errno));
    if ((status.st_mode & S_IXOTH) == 0) return fail(refusal(EACCES));
    return {};
}

bool is_on_procfs(int fd) {
    struct statfs status;
    return ::fstatfs(fd, &status) != 0 || status.f_type == PROC_SUPER_MAGIC;
}

}  // namespace

Result<void> PathWalk::enter(const FileDescriptor& folder) {
    struct stat root;
    if (::fstat(root_, &root) != 0) return fail(refusal(errno));
    std::vector<FileDescriptor> climbed;  // From the folder upwards.
    climbed.emplace_back(::openat(folder.get(), ".", kPlace));
    for (;;) {
        if (!climbed.back()) return fail(refusal(errno));
        struct stat here;
        if (::fstat(climbed.back().get(), &here) != 0) return fail(refusal(errno));
        if (is_same(here, root)) {
            climbed.pop_back();
            break;
        }
        FileDescriptor above(::openat(climbed.back().get(), "..", kPlace));
        struct stat parent;
        const bool known = above && ::fstat(above.get(), &parent) == 0;
        if (!known || is_same(here, parent) || climbed.size() >= kMaxDepth) {
            // The top of all, or what cannot be searched, and no root on the way.
            if (check_ == Check::kEveryone) return fail(refusal(EACCES));
            climbed.erase(climbed.begin() + 1, climbed.end());
            is_below_root_ = false;
            break;
        }
        climbed.push_back(std::move(above));
    }
    std::ranges::reverse(climbed);
    passed_ = std::move(climbed);
    if (check_ == Check::kKernel) return {};
    PYSTACK_CHECK(check_search(root_));
    for (const FileDescriptor& parent : passed_) PYSTACK_CHECK(check_search(parent.get()));
    return {};
}

Result<FileDescriptor> PathWalk::find(const std::string& path) {
    if (path.starts_with('/')) go_to_root();
    add_parts(path, ahead_);
    while (!ahead_.empty()) {
        const std::string name = std::move(ahead_.back());
        ahead_.pop_back();
        PYSTACK_CHECK(step(name));
    }
    if (passed_.empty()) return fail(refusal(EISDIR));
    struct stat status;
    if (::fstat(here(), &status) != 0) return fail(refusal(errno));
    if (check_ == Check::kEveryone && (status.st_mode & S_IROTH) == 0) return fail(refusal(EACCES));
    return std::move(passed_.back());
}

void PathWalk::go_to_root() {
    passed_.clear();
    is_below_root_ = true;
}

Result<void> PathWalk::step(const std::string& name) {
    if (name == "..") {
        if (!is_below_root_ && passed_.size() == 1) return fail(refusal(ENOENT));
        if (!passed_.empty()) passed_.pop_back();
        return {};
    }
    if (passed_.size() >= kMaxDepth) return fail(refusal(ENAMETOOLONG));
    if (check_ == Check::kEveryone) PYSTACK_CHECK(check_search(here()));
    struct stat status;
    FileDescriptor next(::openat(here(), name.c_str(), kPlace));
    if (!next || ::fstat(next.get(), &status) != 0) return fail(refusal(errno));
    if (S_ISLNK(status.st_mode)) return follow(next.get());
    passed_.push_back(std::move(next));
    return {};
}

Result<void> PathWalk::follow(int link) {
    // Links of procfs lead to what they mean and not to what they say.
    if (++links_ > kMaxLinks || is_on_procfs(link)) return fail(refusal(ELOOP));
    std::array<char, PATH_MAX> text;
    const ssize_t size = ::readlinkat(link, "", text.data(), text.size());
    if (size < 0) return fail(refusal(errno));
    const std::string_view target(text.data(), static_cast<std::size_t>(size));
    if (target.starts_with('/')) go_to_root();
    add_parts(target, ahead_);
    return {};
}

}  // namespace pystack::files
