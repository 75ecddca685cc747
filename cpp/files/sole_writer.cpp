#include "files/sole_writer.h"

#include <sys/stat.h>
#include <sys/xattr.h>

#include <array>
#include <charconv>

namespace pystack::files {

namespace {

/// systemd-coredump(8) notes there whose process it was, and only root can have put it on a file of
/// root's.
std::optional<uid_t> noted_user(int fd) {
    std::array<char, 16> text;
    const ssize_t size = ::fgetxattr(fd, "user.coredump.uid", text.data(), text.size());
    if (size <= 0) return std::nullopt;
    uid_t uid = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + size, uid);
    if (error != std::errc{} || end != text.data() + size) return std::nullopt;
    return uid;
}

}  // namespace

std::optional<uid_t> sole_writer(const FileDescriptor& file) {
    struct stat status;
    // Where others got rights by an access control list, the group's bits say so.
    if (::fstat(file.get(), &status) != 0 || (status.st_mode & (S_IWGRP | S_IWOTH)) != 0)
        return std::nullopt;
    const auto uid = status.st_uid == 0 ? noted_user(file.get()) : status.st_uid;
    return uid && *uid != 0 ? uid : std::nullopt;
}

}  // namespace pystack::files
