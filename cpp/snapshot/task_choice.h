#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "cpython/tasks/raw_task.h"

namespace pystack::snapshot {

/// Indexes of tasks, and how many more there are.
struct TaskChoice {
    std::vector<std::size_t> chosen;
    std::size_t left_out = 0;
};

/// Chooses at most `most` of the tasks that have suspended frames: one of each place in the program
/// first, then a second one of each, and so on. Variables of a running task are those of its
/// thread.
TaskChoice choose_tasks(std::span<const cpython::RawTask> tasks, std::size_t most);

}  // namespace pystack::snapshot
