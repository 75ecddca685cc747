#pragma once

#include <sched.h>
#include <sys/types.h>

namespace pystack::threads {

/// Takes the calling thread to the CPU that another thread runs on: while one of them runs there,
/// the other waits, as for anything else that the kernel lets run, and its memory stands still.
/// Nothing is done to the other thread. All calls must come from one thread; its CPUs are again
/// those that it had before when this is destroyed.
class CpuFollower {
  public:
    CpuFollower() = default;
    ~CpuFollower() { leave(); }
    CpuFollower(const CpuFollower&) = delete;
    CpuFollower& operator=(const CpuFollower&) = delete;

    /// Returns on the CPU that the thread ran on last, and stays there. False when that CPU is not
    /// one of ours, or belongs to a thread that would not let us run (real-time scheduling).
    bool follow(pid_t pid, pid_t tid);
    /// Whether the thread is on our CPU now, and so does not run.
    bool is_beside(pid_t pid, pid_t tid) const;
    bool following() const { return following_; }
    void leave();

  private:
    cpu_set_t before_{};  ///< Of use while following.
    bool following_ = false;
    int cpu_ = -1;
};

}  // namespace pystack::threads
