#pragma once

#include <cstdint>

#include "base/nanoseconds.h"
#include "sampling/share_budget.h"

namespace pystack::sampling {

/// Work of the sampling thread that may take a share of the time, and is left for later ticks
/// otherwise.
class WorkShare {
  public:
    explicit WorkShare(double share) : share_(share) {}

    bool is_open() const { return next_ns_ == 0 || monotonic_ns() >= next_ns_; }
    /// When it may be done again (CLOCK_MONOTONIC); a time that is over is as good as now.
    std::uint64_t next_ns() const { return next_ns_; }
    /// The work that began at `begin_ns` (CLOCK_MONOTONIC) has ended.
    void worked_since(std::uint64_t begin_ns) {
        used_ns_ += monotonic_ns() - begin_ns;
        next_ns_ = budget_.next_start(begin_ns, used_ns_, share_);
    }

  private:
    const double share_;
    ShareBudget budget_;
    std::uint64_t used_ns_ = 0;
    std::uint64_t next_ns_ = 0;
};

}  // namespace pystack::sampling
