#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "memory/process_memory.h"
#include "process/realtime_priority.h"
#include "process/stop_watchdog.h"

namespace pystack::process {

/// What we keep to while we stop a target again and again: the clock tells the watchdog
/// of each stop, has real-time priority until it has used a millisecond of CPU, and does not let it
/// last longer than the limit: from the first thread that stands still to the release of the last.
/// Releasing takes time itself, so a stop is over that much earlier. Reads of the target fail then
/// (ReadGate), so whatever reads comes to its end. All calls of one stop come from one thread.
class StopClock final : public memory::ReadGate {
  public:
    struct Rules {
        std::chrono::nanoseconds limit = std::chrono::seconds(2);
        /// Only where has_ordinary_priority() was true for the caller.
        bool raise_priority = false;
    };

    explicit StopClock(const Rules& rules);
    ~StopClock();
    StopClock(const StopClock&) = delete;
    StopClock& operator=(const StopClock&) = delete;

    /// Before the first call that may make the target stand still. False while the watchdog is
    /// about to stop us; late threads should be let go meanwhile.
    bool begin();
    /// The target is about to stand still.
    void raise_priority_for_stop();
    /// The first thread of the target stands still: the limit counts from here.
    void note_standstill() { stands_since_ns_ = now_ns(); }
    /// How many threads must be let go at the end.
    void set_held(std::size_t threads) { held_ = threads; }
    /// While the target stands still: whether it has to be let go now, or within `ahead`. Cheap
    /// enough for each thread that is stopped.
    bool is_over(std::chrono::nanoseconds ahead = {});
    /// To be called often in a long release: others must get the CPU, too.
    void share_cpu();
    /// It took `duration` to let so many threads go.
    void note_release(std::size_t threads, std::chrono::nanoseconds duration);
    /// No thread of the target stands still for long any more.
    void note_running();
    /// The stop has ended. Whether it was over (is_over) stays known until the next one.
    void end();
    bool was_over() const { return over_; }
    /// Whether it was over because of the limit, so that the next one will hardly do better.
    bool was_too_long() const { return too_long_; }
    /// How long the target has stood still in all stops.
    std::chrono::nanoseconds standing_time() const {
        return std::chrono::nanoseconds(standing_ns_);
    }

    /// Whether memory may be read.
    bool is_open() override;

    /// A thread was not stopped in time, and will stand still until it is let go. The watchdog is
    /// told that something stands still until there are no such threads any more.
    void add_late_thread(pid_t tid) { late_threads_.push_back(tid); }
    std::span<const pid_t> late_threads() const { return late_threads_; }
    /// Threads, by rising tid, that the last stop found in uninterruptible sleep.
    std::vector<pid_t>& uninterruptible_threads() { return uninterruptible_; }
    /// Whether the calling thread seizes a thread right now, see seize().
    void set_seizing(bool seizing) { slot_->seizing = seizing; }
    /// Drops the late threads of which `is_released` says so. Whether some are left.
    template <class IsReleased>
    bool drop_late_threads(IsReleased is_released) {
        if (late_threads_.empty()) return false;
        std::erase_if(late_threads_, is_released);
        if (late_threads_.empty() && since_ns_ == 0) slot_->since_ns = 0;
        return !late_threads_.empty();
    }

  private:
    /// Before any was measured.
    static constexpr double kFirstReleaseNs = 5'000;

    static std::int64_t now_ns();
    void limit_realtime(std::int64_t now);

    const Rules rules_;
    std::shared_ptr<StopWatchdog> watchdog_;
    StopSlot own_slot_;  ///< Where there is no watchdog.
    StopSlot* slot_;
    std::int64_t since_ns_ = 0;         ///< 0: no stop.
    std::int64_t stands_since_ns_ = 0;  ///< 0: all threads run yet.
    bool over_ = false;
    bool too_long_ = false;
    std::size_t held_ = 0;
    double release_ns_ = kFirstReleaseNs;  ///< Per thread.
    std::int64_t standing_ns_ = 0;
    unsigned reads_ = 0;
    RealtimePriority realtime_priority_;
    std::uint64_t run_at_raise_ns_ = 0;  ///< Of our thread.
    std::vector<pid_t> late_threads_;
    std::vector<pid_t> uninterruptible_;
};

}  // namespace pystack::process
