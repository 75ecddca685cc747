#pragma once

#include "snapshot/raw_snapshot.h"
#include "target/live_target.h"

namespace pystack::snapshot {

/// Finds out which calls go on that a signal or a stop has interrupted (restart_syscall), by the
/// kernel's function that the threads sleep in. Before the waits are found.
void find_restarted_calls(const target::LiveTarget& target, RawSnapshot& raw);

/// Completes the waits of a running process by what the kernel tells of it: what the descriptors
/// are, who has their other ends, who holds file locks, commands of children, how long timers still
/// run. Facts of threads that have gone on since are left out. Takes its time, so the process must
/// not stand still for it.
void add_kernel_facts(const target::LiveTarget& target, RawSnapshot& raw);

}  // namespace pystack::snapshot
