#include "files/regular_file.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <iterator>

namespace pystack::files {

namespace {

constexpr int kReading = O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
constexpr const char* kNotRegular = "not a regular file";

/// File systems without contents of a user's: the kernel makes the files up when they are read.
/// Those that hold what processes wrote (tmpfs, hugetlbfs) are not among them. Numbers where
/// linux/magic.h of older systems has no name.
constexpr std::uint32_t kMadeUp[] = {
    PROC_SUPER_MAGIC,   SYSFS_MAGIC,         DEVPTS_SUPER_MAGIC,  DEBUGFS_MAGIC,
    TRACEFS_MAGIC,      SECURITYFS_MAGIC,    SELINUX_MAGIC,       SMACK_MAGIC,
    CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC, PSTOREFS_MAGIC,      EFIVARFS_MAGIC,
    BPF_FS_MAGIC,       BINFMTFS_MAGIC,      NSFS_MAGIC,          SOCKFS_MAGIC,
    PIPEFS_MAGIC,       ANON_INODE_FS_MAGIC, FUTEXFS_SUPER_MAGIC, RDTGROUP_SUPER_MAGIC,
    AAFS_MAGIC,
    0xabba1974,  // xenfs
    0x19800202,  // mqueue
    0x62656570,  // configfs
    0x65735543,  // fusectl
    0x6c6f6f70,  // binder
    0x50494446,  // pidfs
    0x67596969,  // rpc_pipefs
    0x6e667364,  // nfsd
};

Result<void> check_regular(int fd) {
    struct stat status;
    if (::fstat(fd, &status) != 0) return fail(refusal(errno));
    if (!S_ISREG(status.st_mode)) return fail(refusal(EINVAL, kNotRegular));
    return {};
}

Result<void> check_file_system(int fd) {
    struct statfs status;
    if (::fstatfs(fd, &status) != 0) return fail(refusal(errno));
    const auto type = static_cast<std::uint32_t>(status.f_type);
    if (std::find(std::begin(kMadeUp), std::end(kMadeUp), type) != std::end(kMadeUp))
        return fail(refusal(EINVAL, "a file on a virtual file system of the kernel"));
    return {};
}

/// Through the link of our own descriptor, which leads to that very file.
Result<FileDescriptor> open_again(int fd) {
    const std::string link = "/proc/thread-self/fd/" + std::to_string(fd);
    FileDescriptor file(::open(link.c_str(), kReading));
    if (!file) return fail(refusal(errno));
    return file;
}

}  // namespace

Error refusal(int number) {
    return refusal(number, std::strerror(number));
}

Error refusal(int number, const char* reason) {
    return Error{.code = ErrorCode::kSystem, .number = number, .what = "open", .detail = reason};
}

Result<FileDescriptor> open_named(const std::string& path) {
    // Asked before opening, because opening a device can do something, and again afterwards,
    // because the name may mean another file by then. O_NONBLOCK: a pipe without a writer would
    // wait for one.
    struct stat status;
    if (::stat(path.c_str(), &status) != 0) return fail(refusal(errno));
    if (!S_ISREG(status.st_mode)) return fail(refusal(EINVAL, kNotRegular));
    FileDescriptor file(::open(path.c_str(), kReading));
    if (!file) return fail(refusal(errno));
    PYSTACK_CHECK(check_regular(file.get()));
    return file;
}

Result<FileDescriptor> open_mapped(const std::string& link) {
    const FileDescriptor place(::open(link.c_str(), O_PATH | O_CLOEXEC));
    if (!place) return fail(refusal(errno));
    return open_place(place);
}

Result<FileDescriptor> open_place(const FileDescriptor& place) {
    PYSTACK_CHECK(check_regular(place.get()));
    PYSTACK_CHECK(check_file_system(place.get()));
    return open_again(place.get());
}

}  // namespace pystack::files
