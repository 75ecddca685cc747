#include "process/process_clock.h"

#include <ctime>

namespace pystack::process {

namespace {

std::optional<std::uint64_t> read_ns(clockid_t clock) {
    timespec time{};
    if (::clock_gettime(clock, &time) != 0) return std::nullopt;
    return static_cast<std::uint64_t>(time.tv_sec) * 1'000'000'000 +
           static_cast<std::uint64_t>(time.tv_nsec);
}

}  // namespace

std::optional<std::uint64_t> process_run_time_ns(pid_t pid) {
    clockid_t clock = 0;
    return ::clock_getcpuclockid(pid, &clock) == 0 ? read_ns(clock) : std::nullopt;
}

std::uint64_t own_run_time_ns() {
    return read_ns(CLOCK_THREAD_CPUTIME_ID).value_or(0);
}

}  // namespace pystack::process
