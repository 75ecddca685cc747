#pragma once

#include "snapshot/raw_snapshot.h"
#include "target/live_target.h"

namespace pystack::snapshot {

/// Finds out whether the other process that a thread waits for waits for this one: the child, or
/// the process that has the other end of its pipe. That it does is said only if it has one thread,
/// which is blocked before and after the look and did not run in between. After the other ends are
/// known.
void add_peer_waits(const target::LiveTarget& target, RawSnapshot& raw);

}  // namespace pystack::snapshot
