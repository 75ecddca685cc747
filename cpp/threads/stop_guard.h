#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/result.h"
#include "threads/registers.h"

namespace pystack::threads {

struct StoppedThread {
    pid_t tid = 0;
    bool stopped =
        false;  ///< false: it sat in an uninterruptible wait and could not be stopped in time.
    int pending_signal = 0;  ///< A signal that was on its way to the thread: handed on at release.
};

/// Holds every thread of a process stopped, from construction to release() or destruction.
///
/// Uses PTRACE_SEIZE and PTRACE_INTERRUPT, so no signal is sent to the target, and if this process
/// dies at any moment the kernel lets the target run. A target that was already stopped (SIGSTOP)
/// stays so. All calls must come from the thread that created the guard: ptrace belongs to a
/// thread, and when that thread ends the kernel releases whatever is left.
class StopGuard {
  public:
    struct Limits {
        /// How long to wait for threads in uninterruptible waits before going on without them.
        std::chrono::milliseconds patience{200};
        /// How long for threads that only have to get a CPU to stop: the machine may be busy.
        std::chrono::milliseconds busy_patience{5000};
        std::size_t max_threads = 100'000;
        /// Threads that need not be stopped, by rising tid.
        std::span<const pid_t> except{};
    };

    /// kPermissionDenied (also when another tracer has the process), kNoSuchProcess.
    static Result<StopGuard> stop(pid_t pid, const Limits& limits);
    static Result<StopGuard> stop(pid_t pid) { return stop(pid, Limits()); }

    StopGuard(StopGuard&& other) noexcept;
    StopGuard& operator=(StopGuard&&) = delete;
    ~StopGuard();

    /// Lets everything run again. Idempotent.
    void release();

    std::span<const StoppedThread> threads() const { return threads_; }
    Result<Registers> registers(pid_t tid) const;
    /// The process was in a group stop (SIGSTOP, job control) before, and is left in it.
    bool was_stopped() const { return was_stopped_; }
    /// From the first stop request to the end of release(); grows until release() was called.
    std::chrono::nanoseconds stop_time() const;

  private:
    explicit StopGuard(pid_t pid) : pid_(pid) {}

    Result<void> seize(pid_t tid);
    bool collect(StoppedThread& thread);
    void wait_for_all(const Limits& limits);
    bool sleeps_uninterruptibly(pid_t tid) const;

    pid_t pid_;
    std::vector<StoppedThread> threads_;
    bool was_stopped_ = false;
    bool released_ = false;
    std::optional<std::chrono::steady_clock::time_point> begin_;
    std::optional<std::chrono::steady_clock::time_point> end_;
};

}  // namespace pystack::threads
