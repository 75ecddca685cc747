#include "process/thread_wait.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <cstring>
#include <string_view>

namespace pystack::process {

namespace {

/// Number behind a key of /proc/TID/status; 0 if there is none.
pid_t number_after(std::string_view text, std::string_view key) {
    const std::size_t place = text.find(key);
    if (place == std::string_view::npos) return 0;
    pid_t number = 0;
    std::from_chars(text.data() + place + key.size(), text.data() + text.size(), number);
    return number;
}

/// Whether it is the main thread of a process that this one has started.
bool is_own_child(pid_t tid) {
    std::array<char, 32> path{"/proc/"};
    constexpr std::string_view kFile = "/status";
    char* const end = std::to_chars(path.data() + std::strlen(path.data()),
                                    path.data() + path.size() - kFile.size() - 1, tid)
                          .ptr;
    std::memcpy(end, kFile.data(), kFile.size());
    const int fd = ::open(path.data(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) return false;
    std::array<char, 1024> text;
    const ssize_t size = ::read(fd, text.data(), text.size());
    ::close(fd);
    if (size <= 0) return false;
    const std::string_view status(text.data(), static_cast<std::size_t>(size));
    return number_after(status, "\nTgid:\t") == tid &&
           number_after(status, "\nPPid:\t") == ::getpid();
}

}  // namespace

bool TraceStop::is_job_control() const {
    const bool stops =
        signal == SIGSTOP || signal == SIGTSTP || signal == SIGTTIN || signal == SIGTTOU;
    return event == PTRACE_EVENT_STOP && stops;
}

std::optional<TraceStop> take_stop(pid_t tid) {
    siginfo_t info{};
    constexpr int kStops = WSTOPPED | WNOHANG | __WALL;
    if (::waitid(P_PID, static_cast<id_t>(tid), &info, kStops) != 0 || info.si_pid != tid)
        return std::nullopt;
    return TraceStop{.signal = info.si_status & 0xff, .event = info.si_status >> 8};
}

bool take_end(pid_t tid) {
    siginfo_t info{};
    constexpr int kEnds = WEXITED | WNOHANG | __WALL;
    // Not traced any more: another look at it has taken its end.
    if (::waitid(P_PID, static_cast<id_t>(tid), &info, kEnds | WNOWAIT) != 0) return true;
    // The kernel mentions stops here as well, whether it is asked for them or not.
    const bool has_ended =
        info.si_pid == tid &&
        (info.si_code == CLD_EXITED || info.si_code == CLD_KILLED || info.si_code == CLD_DUMPED);
    if (has_ended && !is_own_child(tid)) ::waitid(P_PID, static_cast<id_t>(tid), &info, kEnds);
    return has_ended;
}

}  // namespace pystack::process
