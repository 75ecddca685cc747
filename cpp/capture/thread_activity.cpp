#include "capture/thread_activity.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdio>
#include <string_view>

#include "model/sample.h"
#include "threads/proc_files.h"

namespace pystack::capture {

namespace {

/// How long a thread that stands still is not looked at: an eighth of the time that it has stood
/// still for, at most this long, or, with very many threads, so long for each of them.
constexpr std::uint64_t kPauseShare = 8;
constexpr std::uint64_t kLongestPauseNs = 100'000'000;
constexpr std::uint64_t kPausePerThreadNs = 1'000'000;

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

std::uint8_t ThreadActivity::bits(const Sample& sample) {
    if (sample.moved) moved_ns_ = sample.now_ns;
    if (sample.moved && sample.runs_python) {
        bits_ = model::kOnCpu | model::kCpuKnown;
        look_at_ns_ = 0;
    } else if (sample.asks_for_gil) {
        bits_ = model::kWaitsForGil | model::kCpuKnown;
        look_at_ns_ = 0;
    } else if (sample.moved || sample.now_ns >= look_at_ns_) {
        const std::uint64_t pause = (sample.now_ns - moved_ns_) / kPauseShare;
        const std::uint64_t longest =
            std::max(kLongestPauseNs, kPausePerThreadNs * sample.thread_count);
        look_at_ns_ = sample.now_ns + std::min(pause, longest);
        bits_ = look(sample);
    }
    return bits_;
}

std::uint8_t ThreadActivity::look(const Sample& sample) {
    const auto activity = file_.look();
    if (!activity) return 0;
    std::uint8_t bits = model::kCpuKnown;
    if (activity->running) bits |= model::kOnCpu;
    if (sample.gil != nullptr) {
        const auto state = cpython::gil_state(*sample.gil, sample.thread_state, activity->call);
        if (state == model::GilState::kWaits || state == model::GilState::kDropping) {
            bits |= model::kWaitsForGil;
        }
    }
    return bits;
}

}  // namespace pystack::capture
