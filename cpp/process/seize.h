#pragma once

#include <sys/types.h>

#include <span>

#include "process/stop_clock.h"
#include "process/stopped_thread.h"

namespace pystack::process {

/// PTRACE_SEIZE that does not wait for ever. Returns 0 or an errno.
///
/// A thread that executes a program holds a lock for which seizing waits, and it waits itself until
/// all other threads of its process have ended and their tracer has collected them: that is us, so
/// both would wait for ever. The watchdog of `clock` sees it and interrupts us by SIGURG, whose
/// handler collects those of `seized`, and of the clock's late threads, that have ended. Nothing is
/// done for it where the program has a handler for SIGURG of its own, or there is no watchdog.
int seize(pid_t tid, std::span<const StoppedThread> seized, StopClock* clock);

}  // namespace pystack::process
