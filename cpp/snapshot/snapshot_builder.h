#pragma once

#include "model/snapshot.h"
#include "snapshot/native_capture.h"
#include "snapshot/raw_snapshot.h"

namespace pystack::snapshot {

/// Puts names, lines and words to what was read: the interpreters and threads of a snapshot. Reads
/// almost nothing any more, so the target may run. `native` has merged the stacks, or is null. What
/// describes the target itself is added by the caller.
model::Snapshot build_snapshot(RawSnapshot& raw, NativeCapture* native = nullptr);

/// What a target says of itself: pid, program, command, version.
void describe_target(const RawSnapshot& raw, model::Snapshot& snapshot);

/// Of a target without an interpreter: the native stacks, and why there is nothing else.
model::Snapshot build_snapshot_without_python(RawSnapshot& raw, NativeCapture& native,
                                              const Error& reason);

}  // namespace pystack::snapshot
