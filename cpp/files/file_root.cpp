#include "files/file_root.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <optional>

#include "files/path_walk.h"
#include "files/regular_file.h"

namespace pystack::files {

namespace {

// openat2(2), which the headers of older systems do not have.
constexpr long kOpenat2 = 437;
constexpr std::uint64_t kNoMagicLinks = 0x02;
constexpr std::uint64_t kInRoot = 0x10;
struct OpenHow {
    std::uint64_t flags;
    std::uint64_t mode;
    std::uint64_t resolve;
};

/// The kernel gives up a lookup with ".." in it whenever a folder is renamed somewhere.
constexpr int kAttempts = 8;

/// Absent where the kernel has no openat2 (before 5.6, or by a seccomp filter), or is kept from
/// answering by folders that somebody moves all the time.
std::optional<Result<FileDescriptor>> find_by_kernel(int root, const std::string& path) {
    OpenHow how{.flags = O_PATH | O_CLOEXEC, .mode = 0, .resolve = kInRoot | kNoMagicLinks};
    for (int i = 0; i < kAttempts; ++i) {
        const auto fd = ::syscall(kOpenat2, root, path.c_str(), &how, sizeof how);
        if (fd >= 0) return FileDescriptor(static_cast<int>(fd));
        if (errno == ENOSYS || errno == EPERM) return std::nullopt;
        if (errno != EAGAIN) return fail(refusal(errno));
    }
    return std::nullopt;
}

class NoFiles final : public FileOpener {
  public:
    Result<FileDescriptor> open(const std::string&) const override { return fail(refusal(ENOENT)); }
};

}  // namespace

Result<FileRoot> FileRoot::at(const std::string& folder, FileRights rights) {
    FileDescriptor root(::open(folder.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!root) return fail(refusal(errno));
    return FileRoot(std::move(root), std::move(rights));
}

Result<FileDescriptor> FileRoot::open(const std::string& path) const {
    if (path.contains('\0')) return fail(refusal(ENOENT));
    if (rights_.kind() == FileRights::Kind::kCaller) return open_here(path);
    if (rights_.kind() == FileRights::Kind::kUser) {
        const ActingAs user(rights_.user());
        if (user.complete()) return open_here(path);
    }
    return open_as_everyone(path);
}

std::shared_ptr<const FileOpener> files_below(const std::string& folder, FileRights rights,
                                              const char* working_folder) {
    auto root = FileRoot::at(folder, std::move(rights));
    if (!root) return std::make_shared<const NoFiles>();
    if (working_folder != nullptr) {
        root->set_working_folder(
            FileDescriptor(::open(working_folder, O_PATH | O_DIRECTORY | O_CLOEXEC)));
    }
    return std::make_shared<const FileRoot>(*std::move(root));
}

Result<FileDescriptor> FileRoot::open_as_everyone(const std::string& path) const {
    PathWalk walk(root_, PathWalk::Check::kEveryone);
    if (!path.starts_with('/')) {
        if (!working_folder_) return fail(refusal(ENOENT));
        PYSTACK_CHECK(walk.enter(working_folder_));
    }
    PYSTACK_TRY(place, walk.find(path));
    return open_place(place);
}

Result<FileDescriptor> FileRoot::open_here(const std::string& path) const {
    const bool is_absolute = path.starts_with('/');
    if (!is_absolute && !working_folder_) return fail(refusal(ENOENT));
    if (is_absolute) {
        if (auto place = find_by_kernel(root_.get(), path)) {
            if (!*place) return fail(std::move(*place).error());
            return open_place(**place);
        }
    }
    PathWalk walk(root_, PathWalk::Check::kKernel);
    if (!is_absolute) PYSTACK_CHECK(walk.enter(working_folder_));
    PYSTACK_TRY(place, walk.find(path));
    return open_place(place);
}

}  // namespace pystack::files
