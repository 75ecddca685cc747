#pragma once

#include <sched.h>
#include <sys/types.h>

#include <cstdint>
#include <optional>

namespace pystack::process {

/// Takes the calling thread to the CPU that another thread runs on: while one of them runs there,
/// the other waits, as for anything else that the kernel lets run, and its memory stands still.
/// Nothing is done to the other thread. All calls must come from one thread; its CPUs are again
/// those that it had before when this is destroyed.
class CpuAffinity {
  public:
    CpuAffinity() = default;
    ~CpuAffinity() { unpin(); }
    CpuAffinity(const CpuAffinity&) = delete;
    CpuAffinity& operator=(const CpuAffinity&) = delete;

    /// Returns on the CPU that the thread ran on last, and stays there. False when that CPU is not
    /// one of ours, or belongs to a thread that would not let us run (real-time scheduling).
    bool pin_to(pid_t pid, pid_t tid);
    /// Whether the thread is on our CPU now, and so does not run.
    bool shares_cpu_with(pid_t pid, pid_t tid) const;
    /// Whether the thread is on our CPU now, and did not run since its run time was this, when it
    /// was there, too. The kernel counts what a thread has run when it leaves its CPU, and it is on
    /// none while we have the one it is on.
    bool stood_still(pid_t pid, pid_t tid, std::optional<std::uint64_t> run_before_ns) const;
    bool is_pinned() const { return pinned_; }
    void unpin();

  private:
    cpu_set_t before_{};  ///< Of use while pinned.
    bool pinned_ = false;
    int cpu_ = -1;
};

}  // namespace pystack::process
