#pragma once

#include "snapshot/raw_snapshot.h"
#include "target/live_target.h"

namespace pystack::snapshot {

/// Finds out whether the processes that a thread waits for wait for this one, be it through others:
/// children, and processes that have the other end of a pipe or a unix socket. That a process waits
/// is said only if it has one thread, which is blocked before and after the look and did not run in
/// between. After the other ends are known.
void add_peer_waits(const target::LiveTarget& target, RawSnapshot& raw);

}  // namespace pystack::snapshot
