#pragma once

#include <cstdint>
#include <vector>

#include "model/task.h"

namespace pystack::snapshot {

/// Circles of asyncio tasks that wait for each other, by their ids: each for the next one, and the
/// last for the first. A task waits for the only holder of a lock, for the task that it awaits, and
/// for all tasks of its gather() or TaskGroup. Who may time out, or is awaited by such a task, is
/// in none. Each task is in one circle at most.
std::vector<std::vector<std::uint64_t>> find_task_deadlocks(const std::vector<model::Task>& tasks);

}  // namespace pystack::snapshot
