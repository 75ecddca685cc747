#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>

namespace pystack::sampling {

/// Keeps a thread that works again and again below a share of one CPU on the average, and keeps a
/// target that stands still for it below the same share of the time. A few expensive turns are
/// allowed to come at once; the pauses are even when all turns cost too much.
///
/// Where there are more such threads than CPUs, all of them together have half of the CPUs: they
/// may run before all others, and a recorded program can start as many processes as it likes.
class CpuCeiling {
  public:
    /// `share`: above 0; at 1 there is no limit of its own. `cpu_ns`: what the thread has run until
    /// now. `cpus`: how many the machine has.
    CpuCeiling(double share, std::uint64_t cpu_ns, unsigned cpus)
        : share_(share), cpus_(std::max(cpus, 1U)), cpu_{.used_ns = cpu_ns} {
        ++ceilings_;
    }
    ~CpuCeiling() { --ceilings_; }
    CpuCeiling(const CpuCeiling&) = delete;
    CpuCeiling& operator=(const CpuCeiling&) = delete;

    /// After a turn: when the next may begin. `now_ns` is on the caller's own clock, as the answer;
    /// `cpu_ns` what the thread has run, `standing_ns` how long the target has stood still.
    std::uint64_t next_start(std::uint64_t now_ns, std::uint64_t cpu_ns,
                             std::uint64_t standing_ns) {
        const std::uint64_t after_cpu = cpu_.next_start(last_ns_, now_ns, cpu_ns, share_now());
        const std::uint64_t after_stops = stops_.next_start(last_ns_, now_ns, standing_ns, share_);
        last_ns_ = now_ns;
        return std::max(after_cpu, after_stops);
    }

    /// What the thread has run since the last turn does not count.
    void forgive_cpu(std::uint64_t cpu_ns) { cpu_.used_ns = cpu_ns; }

  private:
    static constexpr std::uint64_t kBurstNs = 200'000'000;
    /// A year: the times of tiny shares must not overflow.
    static constexpr double kLongestPauseNs = 365.0 * 86'400 * 1e9;

    struct Budget {
        std::uint64_t used_ns = 0;
        std::uint64_t paid_until_ns = 0;  ///< By then the average is back at the share.

        std::uint64_t next_start(std::uint64_t last_ns, std::uint64_t now_ns,
                                 std::uint64_t now_used_ns, double share) {
            const auto used = static_cast<double>(now_used_ns - used_ns);
            used_ns = now_used_ns;
            if (share >= 1) return now_ns;
            // What was not used some time ago is gone.
            const double pause_ns = std::min(used / share, kLongestPauseNs);
            paid_until_ns = std::max(paid_until_ns, last_ns) + static_cast<std::uint64_t>(pause_ns);
            return std::max(now_ns, paid_until_ns - std::min(paid_until_ns, kBurstNs));
        }
    };

    double share_now() const {
        const unsigned ceilings = ceilings_;
        return ceilings <= cpus_ ? share_ : std::min(share_, 0.5 * cpus_ / ceilings);
    }

    inline static std::atomic<unsigned> ceilings_ = 0;

    const double share_;
    const unsigned cpus_;
    Budget cpu_;
    Budget stops_;
    std::uint64_t last_ns_ = 0;  ///< End of the turn before.
};

}  // namespace pystack::sampling
