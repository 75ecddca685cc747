#pragma once

#include <cstddef>
#include <string>

#include "base/work_limits.h"
#include "cpython/tasks/raw_task.h"

namespace pystack::cpython {

/// Keeps tasks as far as the limits allow it, and counts the others.
class TaskBudget {
  public:
    explicit TaskBudget(WorkLimits& limits) : limits_(limits) {}

    void take(RawTask task, RawTasks& result);
    /// Says in `result` how many were left out, which are `what`.
    void report(const std::string& what, RawTasks& result) const;

  private:
    WorkLimits& limits_;
    std::size_t refused_ = 0;
};

}  // namespace pystack::cpython
