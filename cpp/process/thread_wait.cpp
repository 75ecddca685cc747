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

#include "process/proc_files.h"

namespace pystack::process {

namespace {

/// Whether this line of a status file has this number.
bool has_number(std::string_view status, std::string_view key, pid_t number) {
    const auto field = status_field(status, key);
    pid_t value = 0;
    return field &&
           std::from_chars(field->data(), field->data() + field->size(), value).ec == std::errc{} &&
           value == number;
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
    return has_number(status, "Tgid", tid) && has_number(status, "PPid", ::getpid());
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
