#include "process/open_proc_file.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdio>

#include "process/proc_files.h"

namespace pystack::process {

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

}  // namespace

void OpenProcFile::set_thread(pid_t pid, pid_t tid) {
    if (pid == pid_ && tid == tid_) return;
    close();
    pid_ = pid;
    tid_ = tid;
}

void OpenProcFile::close() {
    if (fd_ < 0) return;
    ::close(fd_);
    fd_ = -1;
    --open_files;
}

std::optional<std::string_view> OpenProcFile::read(std::span<char> buffer) {
    if (tid_ == 0) return std::nullopt;
    static const int most = most_files();
    int fd = fd_;
    if (fd < 0) {
        std::array<char, 64> path;
        std::snprintf(path.data(), path.size(), "/proc/%d/task/%d/%s", pid_, tid_, name_);
        fd = ::open(path.data(), O_RDONLY | O_CLOEXEC);
        if (fd < 0) return std::nullopt;
        if (open_files < most) {
            fd_ = fd;
            ++open_files;
        }
    }
    const ssize_t size = ::pread(fd, buffer.data(), buffer.size(), 0);
    if (fd != fd_) ::close(fd);
    if (size <= 0) return std::nullopt;
    return std::string_view(buffer.data(), static_cast<std::size_t>(size));
}

std::optional<std::uint64_t> read_run_time_ns(OpenProcFile& schedstat) {
    std::array<char, 128> text;
    const auto said = schedstat.read(text);
    return said ? parse_run_time_ns(*said) : std::nullopt;
}

}  // namespace pystack::process
