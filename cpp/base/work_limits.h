#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>

#include "base/error.h"

namespace pystack {

/// What one reading (a snapshot, or a recording between two renewals of its tables) may spend on
/// things whose size and number the target chooses, and whether its caller has given up on it.
///
/// Two rules keep a hostile target from using up the machine: whatever is kept takes bytes before
/// it is allocated, and a loop whose length the target chooses takes a step for each turn. Both say
/// no once the limit is reached or the reading is cancelled; the caller then leaves the rest out
/// and says so in its place. What several owners share is charged once. Thread-safe.
///
/// A part of the work may have a deadline, too: what a step costs depends on the target, so a count
/// of steps does not say how long they take.
class WorkLimits {
  public:
    using Clock = std::chrono::steady_clock;

    static constexpr std::uint64_t kDefaultBytes = 256ULL << 20;
    static constexpr std::uint64_t kDefaultSteps = 200'000'000;
    /// While a target stands still: a step is some ten nanoseconds of work.
    static constexpr std::uint64_t kStopSteps = 40'000'000;

    explicit WorkLimits(std::uint64_t bytes = kDefaultBytes, std::uint64_t steps = kDefaultSteps)
        : max_bytes_(bytes), bytes_(bytes), steps_(steps) {}
    WorkLimits(const WorkLimits&) = delete;
    WorkLimits& operator=(const WorkLimits&) = delete;

    /// Takes `count` bytes from what is left. False, and nothing is taken, if there are not as many
    /// or the reading is cancelled.
    bool charge_bytes(std::uint64_t count) { return charge(bytes_, count, bytes_refused_); }
    /// Returns bytes of something that was dropped again.
    void return_bytes(std::uint64_t count) { bytes_.fetch_add(count, std::memory_order_relaxed); }
    /// Returns all bytes: everything that was kept was dropped.
    void return_all_bytes() {
        bytes_.store(max_bytes_, std::memory_order_relaxed);
        bytes_refused_.store(false, std::memory_order_relaxed);
    }
    /// Something was left out because it alone is larger than anything real.
    void refuse_bytes() { bytes_refused_.store(true, std::memory_order_relaxed); }
    /// The same as charge_bytes, for turns of loops. False after the deadline, too.
    bool charge_steps(std::uint64_t count = 1) {
        if (!charge(steps_, count, steps_refused_)) return false;
        const Clock::rep end = end_.load(std::memory_order_relaxed);
        return end == kNoEnd || !passes(end, count);
    }
    /// Begins another part of the work, with steps of its own: a stop, or a sample.
    void renew_steps(std::uint64_t steps = kDefaultSteps) {
        steps_.store(steps, std::memory_order_relaxed);
    }
    /// From `end` on, no step is allowed until the next call of end_at() or never_end().
    void end_at(Clock::time_point end) {
        timed_out_.store(false, std::memory_order_relaxed);
        end_.store(end.time_since_epoch().count(), std::memory_order_relaxed);
    }
    void never_end() {
        timed_out_.store(false, std::memory_order_relaxed);
        end_.store(kNoEnd, std::memory_order_relaxed);
    }
    /// A step was refused since the last end_at(), because the deadline has passed.
    bool timed_out() const { return timed_out_.load(std::memory_order_relaxed); }

    /// From any thread or signal handler: all further questions are answered with no.
    void cancel() { cancelled_.store(true, std::memory_order_relaxed); }
    bool cancelled() const { return cancelled_.load(std::memory_order_relaxed); }

    std::uint64_t max_bytes() const { return max_bytes_; }
    std::uint64_t bytes_left() const { return bytes_.load(std::memory_order_relaxed); }
    /// Whether something was refused because the limit was reached.
    bool bytes_refused() const { return bytes_refused_.load(std::memory_order_relaxed); }
    bool steps_refused() const { return steps_refused_.load(std::memory_order_relaxed); }
    bool exhausted() const { return bytes_refused() || steps_refused(); }

  private:
    static constexpr Clock::rep kNoEnd = INT64_MAX;
    /// The clock is read after so many steps: it costs more than one.
    static constexpr std::uint64_t kStepsPerLook = 4096;

    bool passes(Clock::rep end, std::uint64_t count) {
        if (timed_out()) return true;
        const std::uint64_t left = steps_.load(std::memory_order_relaxed);
        if (left / kStepsPerLook == (left + count) / kStepsPerLook) return false;
        if (Clock::now().time_since_epoch().count() < end) return false;
        timed_out_.store(true, std::memory_order_relaxed);
        return true;
    }

    bool charge(std::atomic<std::uint64_t>& left, std::uint64_t count, std::atomic<bool>& refused) {
        if (cancelled()) return false;
        std::uint64_t before = left.load(std::memory_order_relaxed);
        do {
            if (before < count) {
                refused.store(true, std::memory_order_relaxed);
                return false;
            }
        } while (!left.compare_exchange_weak(before, before - count, std::memory_order_relaxed));
        return true;
    }

    const std::uint64_t max_bytes_;
    std::atomic<std::uint64_t> bytes_;
    std::atomic<std::uint64_t> steps_;
    std::atomic<Clock::rep> end_ = kNoEnd;
    std::atomic<bool> timed_out_ = false;
    std::atomic<bool> cancelled_ = false;
    std::atomic<bool> bytes_refused_ = false;
    std::atomic<bool> steps_refused_ = false;
};

/// A part of the bytes of a WorkLimits for one kind of data, so that a target that has too much of
/// it leaves room for the rest. Not thread-safe.
class LimitsShare {
  public:
    /// One of `parts` equal parts of all bytes.
    LimitsShare(WorkLimits& limits, std::uint64_t parts)
        : limits_(limits), left_(limits.max_bytes() / parts) {}

    /// As WorkLimits::charge_bytes, and never more than the share. The caller says what was left
    /// out.
    bool charge(std::uint64_t count) {
        if (count > left_ || !limits_.charge_bytes(count)) return false;
        left_ -= count;
        return true;
    }
    bool cancelled() const { return limits_.cancelled(); }

  private:
    WorkLimits& limits_;
    std::uint64_t left_;
};

/// In place of what WorkLimits has refused.
inline Error left_out() {
    return Error{.code = ErrorCode::kOutOfMemory, .what = "left out: memory limit"};
}
inline Error cancelled() {
    return Error{.code = ErrorCode::kCancelled, .what = "cancelled"};
}

}  // namespace pystack
