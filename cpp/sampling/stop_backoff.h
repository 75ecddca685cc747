#pragma once

#include <algorithm>
#include <cstdint>

namespace pystack::sampling {

/// When to try again to stop the target: after a stop that took too long, ever later. And when to
/// give up, because stops have been refused for seconds.
class StopBackoff {
  public:
    /// The target was stopped.
    void note_stop() { refused_since_ns_ = 0; }
    /// All of it was read in time.
    void note_success() { pause_ns_ = 0; }
    /// The next stop would hardly be shorter, so the target is not stopped for it too often.
    void note_too_long(std::uint64_t now_ns) {
        pause_ns_ = std::clamp(2 * pause_ns_, kFirstPauseNs, kLongestPauseNs);
        retry_at_ns_ = now_ns + pause_ns_;
    }
    /// The stop was not allowed; returns whether that has lasted too long.
    bool note_refusal(std::uint64_t now_ns) {
        if (refused_since_ns_ == 0) refused_since_ns_ = now_ns;
        return now_ns - refused_since_ns_ >= kRefusedForNs;
    }

    std::uint64_t retry_at_ns() const { return retry_at_ns_; }

  private:
    static constexpr std::uint64_t kRefusedForNs = 3'000'000'000;
    static constexpr std::uint64_t kFirstPauseNs = 20'000'000;
    static constexpr std::uint64_t kLongestPauseNs = 10'000'000'000;

    std::uint64_t refused_since_ns_ = 0;  ///< 0: the last stop was not refused.
    std::uint64_t retry_at_ns_ = 0;
    std::uint64_t pause_ns_ = 0;
};

}  // namespace pystack::sampling
