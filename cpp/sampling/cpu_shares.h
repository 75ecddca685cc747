#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <utility>

#include "model/sample.h"
#include "process/proc_files.h"
#include "sampling/thread_table.h"
#include "sampling/tick.h"

namespace pystack::sampling {

/// How much of the time of each row the thread was on a CPU, and how much it waited for one. A
/// sample cannot tell the two apart, and is no measure of either; the kernel counts both for each
/// thread, to the nanosecond. So what it has counted between two hand-overs is given to the
/// samples that found the thread running or ready to run, in proportion to their weights.
class CpuShares {
  public:
    /// What the kernel says of a thread; nullopt when it is gone.
    using ReadTimes = std::function<std::optional<process::RunTimes>(std::int32_t tid)>;

    explicit CpuShares(ReadTimes read_times) : read_times_(std::move(read_times)) {}

    /// At each tick: from when on the times of new threads count.
    void follow(const ThreadTable& threads, const Tick& tick) const;
    /// Before a batch is handed over: fills Batch::cpu_ns, runnable_ns and late_cpu.
    void settle(const ThreadTable& threads, model::Batch& batch) const;

  private:
    const ReadTimes read_times_;
};

}  // namespace pystack::sampling
