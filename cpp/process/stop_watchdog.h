#pragma once

#include <sys/types.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>

namespace pystack::process {

/// What a thread of ours tells the watchdog about the target that it stops. All times are
/// CLOCK_MONOTONIC in nanoseconds.
struct StopSlot {
    std::atomic<bool> used = false;
    std::atomic<pid_t> tracer = 0;  ///< Our thread.
    /// Since when the target may stand still; 0: it runs.
    std::atomic<std::int64_t> since_ns = 0;
    /// Written by the watchdog: the stop that began then has to end now.
    std::atomic<std::int64_t> overdue_ns = 0;
    /// Our thread is seizing one, for which it may wait in vain: it is sent SIGURG, see seize().
    std::atomic<bool> seizing = false;
};

/// A process beside ours that lets no target stand still for long, whatever happens to us.
///
/// The kernel lets a target run if we die, but not if we are stopped ourselves: by SIGSTOP, by
/// Ctrl-Z, by a debugger. The watchdog is in a session of its own, so a terminal does not stop it.
/// Every few milliseconds it looks at the slots. If a target stands still and our thread is
/// stopped, it sends us SIGCONT, waits until the target was let go, and stops us again, as the user
/// wanted. A thread of ours that seizes for long is interrupted by SIGURG. If a debugger holds us,
/// or SIGCONT does not help, it kills us: then the kernel lets the target run. A slow thread that
/// still runs is left alone; StopClock bounds what it does.
///
/// The watchdog shares our memory (clone with CLONE_VM), so starting it copies nothing, and a stop
/// costs two atomic stores. It has no exit signal: a program that waits for its children does not
/// see it. It ends with its last user, or with our process.
class StopWatchdog {
  public:
    /// The watchdog of this process, started if there is none. Null if it cannot be started, or
    /// PYSTACK_NO_WATCHDOG is set (for those who debug pystack). `raise_priority`: it may run
    /// before other processes, as far as we are allowed to. Thread-safe.
    static std::shared_ptr<StopWatchdog> share(bool raise_priority);

    ~StopWatchdog();
    StopWatchdog(const StopWatchdog&) = delete;
    StopWatchdog& operator=(const StopWatchdog&) = delete;

    /// A slot of the calling thread's own; null if all are in use. Thread-safe.
    StopSlot* take_slot();
    static void return_slot(StopSlot& slot);

    /// Marks the slot's target as standing still from now on. False, and nothing is changed, while
    /// the watchdog is about to stop us.
    bool begin_stop(StopSlot& slot, std::int64_t now_ns) const;

    pid_t pid() const { return pid_; }

  private:
    static constexpr std::size_t kSlots = 256;

    /// What both processes see.
    struct Shared {
        std::array<StopSlot, kSlots> slots;
        std::atomic<bool> closed = false;  ///< No stop may begin.
        pid_t tool = 0;
        int wake_fd = -1;  ///< Readable or hung up: time to end.
    };
    class Loop;

    StopWatchdog() = default;
    bool start(bool raise_priority);

    static std::mutex mutex_;
    static std::weak_ptr<StopWatchdog> current_;

    Shared shared_;
    pid_t pid_ = -1;
    void* memory_ = nullptr;  ///< The watchdog's stack, and behind it what it has for TLS.
    int wake_fd_ = -1;        ///< Our end of the pipe.
};

}  // namespace pystack::process
