#pragma once

#include <cstddef>
#include <optional>
#include <span>

#include "model/snapshot.h"
#include "snapshot/frame_maker.h"
#include "snapshot/raw_snapshot.h"

namespace pystack::snapshot {

/// Names the frames of the tasks that were read, and adds them to the snapshot.
void build_tasks(RawSnapshot& raw, FrameMaker& maker, model::Snapshot& snapshot);

/// The event loop that runs in the thread with these thread states, which are indexes into
/// RawSnapshot::threads.
std::optional<model::EventLoop> event_loop_of(const RawSnapshot& raw,
                                              std::span<const std::size_t> states);

}  // namespace pystack::snapshot
