#pragma once

#include <chrono>
#include <cstddef>
#include <span>

#include "base/result.h"
#include "cpython/frames/read_plan.h"
#include "process/cpu_affinity.h"
#include "snapshot/raw_snapshot.h"
#include "target/live_target.h"

namespace pystack::snapshot {

/// Fills a Reading from a live target that runs meanwhile: a stack counts only if it is proved.
/// Whatever the target does, it takes a few seconds at most, and a proof no more memory than the
/// limits have left.
class RunningCapture {
  public:
    /// Both must outlive it.
    RunningCapture(const target::LiveTarget& target, RawSnapshot& raw)
        : target_(target), raw_(raw) {}

    /// Interpreters, threads, stacks, exceptions, GILs and names.
    Result<void> read();

    /// After read().
    bool was_stopped() const { return was_stopped_; }
    int attempts() const { return attempts_; }  ///< Proofs of all threads.

  private:
    using Clock = WorkLimits::Clock;

    void read_lists();
    void prove(RawThread& thread, Clock::time_point all_end);
    void prove_until(RawThread& thread, Clock::time_point deadline);
    Result<void> prove_nested(Clock::time_point all_end);
    bool prove_together(std::span<const std::size_t> states, Clock::time_point all_end);
    void prove_again(RawThread& thread, Clock::time_point all_end);
    void go_where_it_runs(const RawThread& thread);
    bool all_known(std::span<const cpython::RawFrame> frames) const;
    void read_exceptions_of_still_thread(RawThread& thread, cpython::ReadPlan& plan);
    void read_names_twice();

    const target::LiveTarget& target_;
    RawSnapshot& raw_;
    process::CpuAffinity affinity_;
    bool was_stopped_ = false;
    int attempts_ = 0;
};

}  // namespace pystack::snapshot
