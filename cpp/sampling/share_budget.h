#pragma once

#include <algorithm>
#include <cstdint>

namespace pystack::sampling {

/// Keeps what is used again and again (CPU time, time in which a target stands still) below a share
/// of the time on the average.
class ShareBudget {
  public:
    /// What was used until now does not count.
    explicit ShareBudget(std::uint64_t used_ns = 0) : used_ns_(used_ns) {}

    /// When it may be used again; a time that is over is as good as now. `used_ns`: in all;
    /// `begin_ns`: when it was last begun to be used. `share` is above 0; at 1 there is no limit.
    std::uint64_t next_start(std::uint64_t begin_ns, std::uint64_t used_ns, double share) {
        const auto used = static_cast<double>(used_ns - used_ns_);
        used_ns_ = used_ns;
        if (share >= 1) return 0;
        // What was not used some time ago is gone.
        const double pause_ns = std::min(used / share, kLongestPauseNs);
        paid_until_ns_ = std::max(paid_until_ns_, begin_ns) + static_cast<std::uint64_t>(pause_ns);
        return paid_until_ns_ - std::min(paid_until_ns_, kBurstNs);
    }

    /// What was used since the last call does not count.
    void forgive(std::uint64_t used_ns) { used_ns_ = used_ns; }

  private:
    static constexpr std::uint64_t kBurstNs = 200'000'000;
    /// A year: the times of tiny shares must not overflow.
    static constexpr double kLongestPauseNs = 365.0 * 86'400 * 1e9;

    std::uint64_t used_ns_;
    std::uint64_t paid_until_ns_ = 0;  ///< By then the average is back at the share.
};

}  // namespace pystack::sampling
