#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "arch/registers.h"
#include "base/result.h"
#include "process/stop_clock.h"
#include "process/stopped_thread.h"

namespace pystack::process {

/// Holds every thread of a process stopped, or one of them, from construction to release() or
/// destruction.
///
/// Uses PTRACE_SEIZE and PTRACE_INTERRUPT, so no signal is sent to the target, and if this process
/// dies at any moment the kernel lets the target run. A target that was already stopped (SIGSTOP)
/// stays so. A StopClock bounds how long it lasts. All calls must come from the thread that created
/// the guard: ptrace belongs to a thread, and when that thread ends the kernel releases whatever is
/// left.
class StopGuard {
  public:
    struct Limits {
        /// How long to wait for threads in uninterruptible sleep before going on without them. With
        /// a clock, later stops do not wait for those that still sleep.
        std::chrono::milliseconds patience{20};
        /// How long threads that stand still wait for others that only have to get a CPU to stop:
        /// the machine may be busy. None of the others' own code runs before they stop.
        std::chrono::milliseconds busy_patience{1000};
        /// The same while none stands still.
        std::chrono::milliseconds first_patience{5000};
        std::size_t max_threads = 100'000;
        /// Stop this thread only, and wait for it as long as `first_patience` says; 0: all. It may
        /// be a late thread of an earlier guard.
        pid_t only = 0;
    };

    /// kPermissionDenied (also when another tracer has the process), kNoSuchProcess, kTargetExited
    /// (also of a single thread), kSystem when the stop had to be given up, see
    /// StopClock::was_too_long(). `clock`, if any, must outlive the guard.
    static Result<StopGuard> stop(pid_t pid, const Limits& limits, StopClock* clock = nullptr);
    static Result<StopGuard> stop(pid_t pid) { return stop(pid, Limits()); }
    /// Lets threads go that earlier guards of this thread and clock could not stop in time, as soon
    /// as they stand still. Whether some are left.
    static bool release_late(StopClock& clock);

    StopGuard(StopGuard&& other) noexcept;
    StopGuard& operator=(StopGuard&&) = delete;
    ~StopGuard();

    /// Lets everything run again. Idempotent.
    void release();

    std::span<const StoppedThread> threads() const { return threads_; }
    /// Fails when the stop is over.
    Result<arch::Registers> registers(pid_t tid) const;
    /// The process was in a group stop (SIGSTOP, job control) before, and is left in it.
    bool was_stopped() const { return was_stopped_; }
    /// From the first stop request to the end of release(); grows until release() was called.
    std::chrono::nanoseconds stop_time() const;
    /// From the last look that found no thread standing still to the end of release().
    std::chrono::nanoseconds standing_time() const;

  private:
    StopGuard(pid_t pid, pid_t only, StopClock* clock) : pid_(pid), only_(only), clock_(clock) {}

    Result<void> hold_all(const Limits& limits);
    Result<void> seize_all(std::span<const pid_t> tids, const Limits& limits);
    Result<void> seize(pid_t tid);
    void interrupt_all();
    void note_first_standstill();
    bool collect(StoppedThread& thread);
    bool wait_for_all(const Limits& limits);
    bool collect_all();
    bool waits_in_vain(const Limits& limits) const;
    long longest_pause_ns() const;
    bool is_over(std::chrono::nanoseconds ahead = {}) const {
        return clock_ != nullptr && clock_->is_over(ahead);
    }
    void note_standstill();
    void note_uninterruptible();
    bool is_late() const;
    void let_go_standing();
    void let_go_late(std::span<StoppedThread> threads);
    bool is_ours(pid_t tid) const;
    bool sleeps_uninterruptibly(pid_t tid) const;
    bool is_known_uninterruptible(pid_t tid) const;

    pid_t pid_;
    pid_t only_;
    StopClock* clock_;
    std::vector<StoppedThread> threads_;
    std::vector<pid_t> seen_;      ///< Those of `threads_`, by rising tid.
    std::size_t interrupted_ = 0;  ///< Of `threads_`, from the first on.
    bool was_stopped_ = false;
    bool released_ = false;
    std::optional<std::chrono::steady_clock::time_point> begin_;
    std::optional<std::chrono::steady_clock::time_point> stands_since_;  ///< One of them.
    std::chrono::steady_clock::time_point looked_at_;  ///< Before one was seen to stand still.
    std::optional<std::chrono::steady_clock::time_point> end_;
};

}  // namespace pystack::process
