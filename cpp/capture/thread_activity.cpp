#include "capture/thread_activity.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdio>
#include <string_view>

#include "threads/proc_files.h"

namespace pystack::capture {

namespace {

std::atomic<int> open_files = 0;

/// Half of what the process may have open is left to others, and more than some hundred buys
/// little.
int most_files() {
    constexpr rlim_t kMost = 512;
    rlimit limit{};
    if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return 0;
    return static_cast<int>(std::min(limit.rlim_cur / 2, kMost));
}

int open_syscall_file(pid_t pid, pid_t tid) {
    std::array<char, 64> path;
    std::snprintf(path.data(), path.size(), "/proc/%d/task/%d/syscall", pid, tid);
    return ::open(path.data(), O_RDONLY | O_CLOEXEC);
}

}  // namespace

void ActivityFile::set_thread(pid_t pid, pid_t tid) {
    if (pid == pid_ && tid == tid_) return;
    close();
    pid_ = pid;
    tid_ = tid;
}

void ActivityFile::close() {
    if (fd_ < 0) return;
    ::close(fd_);
    fd_ = -1;
    --open_files;
}

std::optional<Activity> ActivityFile::look() {
    if (tid_ == 0) return std::nullopt;
    static const int most = most_files();
    int fd = fd_;
    if (fd < 0) {
        fd = open_syscall_file(pid_, tid_);
        if (fd < 0) return std::nullopt;
        if (open_files < most) {
            fd_ = fd;
            ++open_files;
        }
    }
    std::array<char, 256> text;
    const ssize_t size = ::pread(fd, text.data(), text.size(), 0);
    if (fd != fd_) ::close(fd);
    if (size <= 0) return std::nullopt;
    const std::string_view said(text.data(), static_cast<std::size_t>(size));
    return Activity{.running = said.starts_with("running"), .call = threads::parse_syscall(said)};
}

}  // namespace pystack::capture
