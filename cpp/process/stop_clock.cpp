#include "process/stop_clock.h"

#include <unistd.h>

#include <algorithm>
#include <ctime>
#include <utility>

#include "process/own_tid.h"
#include "process/process_clock.h"

namespace pystack::process {

namespace {

/// Others must get the CPU again, even if the target stands still a little longer for it. Waiting
/// takes nothing from them.
constexpr std::int64_t kMostRealtimeNs = 1'000'000;
/// A read takes a microsecond, a look at the clock a few percent of that.
constexpr unsigned kReadsPerLook = 16;
/// Fewer releases say nothing about many.
constexpr std::size_t kLeastMeasured = 64;
/// Of a measured release, what the next one may take longer.
constexpr double kReleaseReserve = 1.25;

}  // namespace

StopClock::StopClock(const Rules& rules)
    : rules_(rules),
      watchdog_(StopWatchdog::share(rules.raise_priority)),
      slot_(watchdog_ ? watchdog_->take_slot() : nullptr) {
    if (slot_ == nullptr) {
        watchdog_.reset();
        slot_ = &own_slot_;
    }
}

StopClock::~StopClock() {
    if (watchdog_) StopWatchdog::return_slot(*slot_);
}

std::int64_t StopClock::now_ns() {
    timespec now{};
    ::clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1'000'000'000 + now.tv_nsec;
}

bool StopClock::begin() {
    slot_->tracer = own_tid();  // Not kept: a fork changes it.
    const std::int64_t now = now_ns();
    if (!watchdog_) {
        slot_->since_ns = now;
    } else if (!watchdog_->begin_stop(*slot_, now)) {
        return false;
    }
    over_ = false;
    too_long_ = false;
    since_ns_ = now;
    stands_since_ns_ = 0;
    held_ = 0;
    return true;
}

void StopClock::raise_priority_for_stop() {
    if (!rules_.raise_priority) return;
    run_at_raise_ns_ = own_run_time_ns();
    realtime_priority_.raise();
}

void StopClock::limit_realtime(std::int64_t now) {
    // It has not run for longer than the time that has passed, which is cheaper to ask for.
    if (now - since_ns_ > kMostRealtimeNs &&
        own_run_time_ns() - run_at_raise_ns_ > static_cast<std::uint64_t>(kMostRealtimeNs))
        realtime_priority_.leave();
}

bool StopClock::is_over(std::chrono::nanoseconds ahead) {
    if (over_ || since_ns_ == 0) return over_;
    const std::int64_t now = now_ns();
    limit_realtime(now);
    // At least a quarter is for the work, or it could never be seen that releasing has become fast.
    const auto release_ns = static_cast<std::int64_t>(static_cast<double>(held_) * release_ns_);
    const std::int64_t limit_ns = rules_.limit.count();
    const std::int64_t left_ns = limit_ns - std::min(release_ns, limit_ns / 4 * 3);
    too_long_ = stands_since_ns_ != 0 && now + ahead.count() - stands_since_ns_ > left_ns;
    over_ = too_long_ || slot_->overdue_ns == since_ns_;
    return over_;
}

void StopClock::share_cpu() {
    if (since_ns_ != 0) limit_realtime(now_ns());
}

void StopClock::note_release(std::size_t threads, std::chrono::nanoseconds duration) {
    if (threads < kLeastMeasured) return;
    const double measured =
        kReleaseReserve * static_cast<double>(duration.count()) / static_cast<double>(threads);
    release_ns_ = std::max(measured, (3 * release_ns_ + measured) / 4);
}

void StopClock::note_running() {
    if (stands_since_ns_ == 0) return;
    standing_ns_ += now_ns() - std::exchange(stands_since_ns_, 0);
}

void StopClock::end() {
    note_running();
    if (late_threads_.empty()) slot_->since_ns = 0;
    since_ns_ = 0;
    realtime_priority_.leave();
}

bool StopClock::is_open() {
    if (since_ns_ == 0) return true;
    if (++reads_ % kReadsPerLook == 0 || slot_->overdue_ns == since_ns_) return !is_over();
    return !over_;
}

}  // namespace pystack::process
