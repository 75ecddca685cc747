#pragma once

#include <sys/types.h>

#include <optional>

namespace pystack::process {

/// How a traced thread stopped.
struct TraceStop {
    int signal = 0;
    int event = 0;  ///< PTRACE_EVENT_*; 0: the signal is on its way to the thread.

    /// The process was stopped before, as by SIGSTOP or a terminal.
    bool is_job_control() const;
};

/// Takes the stop of a thread that the calling thread traces; nullopt while it does not stand
/// still.
std::optional<TraceStop> take_stop(pid_t tid);

/// Whether a thread that the calling thread traces has ended. Its end is taken, so that whoever
/// waits for the thread goes on, with one exception: a process that this one has started keeps its
/// exit status for whoever started it, since the kernel hands it out once [ptrace(2), "Death under
/// ptrace"]. Async-signal-safe.
bool take_end(pid_t tid);

}  // namespace pystack::process
