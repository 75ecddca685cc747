#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <unordered_map>

#include "arch/registers.h"
#include "cpython/runtime/gil_state.h"
#include "snapshot/raw_snapshot.h"
#include "snapshot/thread_moment.h"
#include "target/live_target.h"

namespace pystack::snapshot {

using Calls = std::unordered_map<std::int32_t, arch::Syscall>;  ///< By tid.

/// Which threads wait for the GIL, of a target that runs again, or was never stopped.
class GilWaiters {
  public:
    GilWaiters(const target::LiveTarget& target, RawSnapshot& raw) : target_(target), raw_(raw) {}

    /// For a target that was never stopped, after the calls of its threads were read: where the
    /// GIL's futexes are on the stacks of waiting threads, those that were read earlier say nothing
    /// of these calls. Forgets the calls of threads that have run meanwhile.
    void read_futexes();

    /// A thread that waits for the GIL wakes every switch interval, and when it is handed over. One
    /// that was found awake without the GIL waits if it did so just before, does so a moment later
    /// without having run for long, or has the GIL by then.
    void look(const Calls& calls_before);

  private:
    using Clock = std::chrono::steady_clock;

    ThreadMoment now(std::int32_t tid) const { return ThreadMoment::now(target_, tid); }
    std::optional<cpython::Gil> gil_of(std::size_t interpreter) const;
    bool is_settled(std::int32_t tid, const ThreadMoment& before,
                    const std::optional<cpython::Gil>& gil) const;
    void look_at(RawThread& thread, Clock::time_point deadline);

    const target::LiveTarget& target_;
    RawSnapshot& raw_;
};

}  // namespace pystack::snapshot
