#pragma once

#include <algorithm>
#include <chrono>

namespace pystack {

/// Keeps work that is repeated, and takes as long as the target likes, to a small share of the
/// time.
class Pace {
  public:
    using Clock = std::chrono::steady_clock;

    bool is_due() const { return Clock::now() >= next_; }
    /// The work that began at `begin` has ended. `least`: the pause is not shorter.
    void worked_since(Clock::time_point begin, Clock::duration least = {}) {
        const auto end = Clock::now();
        next_ = end + std::max(kPauseShare * (end - begin), least);
    }

  private:
    /// How much longer than the work the pause after it is.
    static constexpr int kPauseShare = 20;

    Clock::time_point next_{};
};

}  // namespace pystack
