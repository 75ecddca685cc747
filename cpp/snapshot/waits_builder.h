#pragma once

#include <cstddef>
#include <vector>

#include "model/snapshot.h"
#include "snapshot/raw_snapshot.h"

namespace pystack::snapshot {

/// What a thread waits for, as plain data; empty if that is not known. `gil`: its GIL state.
model::Boxed<model::Wait> build_wait(RawSnapshot& raw, const RawThread& read, model::GilState gil);

/// The circles of threads that wait for each other, as in Snapshot::deadlocks. A wait that ends by
/// itself after some time is no part of one.
std::vector<std::vector<std::size_t>> find_deadlocks(const std::vector<model::Thread>& threads);

}  // namespace pystack::snapshot
