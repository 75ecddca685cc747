#include "cpython/tasks/task_budget.h"

#include <cstdint>
#include <utility>

namespace pystack::cpython {

namespace {

/// What a task and one of its frames take until they are printed, about: as in RawSnapshot.
constexpr std::uint64_t kTaskBytes = 1024;
constexpr std::uint64_t kFrameBytes = 96;
/// This part of the limit is for tasks.
constexpr std::uint64_t kTasksShare = 2;

}  // namespace

void TaskBudget::take(RawTask task, RawTasks& result) {
    const std::uint64_t bytes = kTaskBytes + task.chain.frames.size() * kFrameBytes;
    const bool fits = result.bytes + bytes <= limits_.max_bytes() / kTasksShare;
    if (!fits || !limits_.charge_bytes(bytes)) {
        ++refused_;
        return;
    }
    result.bytes += bytes;
    result.tasks.push_back(std::move(task));
}

void TaskBudget::report(const std::string& what, RawTasks& result) const {
    if (refused_ == 0) return;
    result.problems.push_back(std::to_string(refused_) + " " + what +
                              " were left out because of the memory limit");
}

}  // namespace pystack::cpython
