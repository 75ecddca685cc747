#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>

namespace pystack::process {

/// How long all threads of a process have been on a CPU together, those that have ended included,
/// in nanoseconds: the process's CPU clock (clock_getcpuclockid(3)), which anyone may read.
///
/// For the threads of another process it is the sum of what their schedstat files say, to the
/// nanosecond: the kernel adds to both when a thread leaves its CPU, and at each scheduler tick (10
/// ms at most) while it runs [thread_group_cputime in kernel/sched/cputime.c of Linux].
std::optional<std::uint64_t> process_run_time_ns(pid_t pid);

/// How long the calling thread has been on a CPU, until now.
std::uint64_t own_run_time_ns();

}  // namespace pystack::process
