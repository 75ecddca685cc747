#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>

#include "sampling/share_budget.h"

namespace pystack::sampling {

/// Keeps a thread that works again and again below a share of one CPU on the average, and the
/// threads of a target that stand still for it below a share of the time. A few expensive turns are
/// allowed to come at once; the pauses are even when all turns cost too much.
///
/// Where there are more such threads than CPUs, all of them together have half of the CPUs: they
/// may run before all others, and a recorded program can start as many processes as it likes.
class CpuCeiling {
  public:
    /// Both shares are above 0; at 1 there is no limit of its own.
    struct Shares {
        double cpu = 1;
        double stops = 1;
    };
    /// `cpu_ns`: what the thread has run until now. `cpus`: how many the machine has.
    CpuCeiling(const Shares& shares, std::uint64_t cpu_ns, unsigned cpus)
        : shares_(shares), cpus_(std::max(cpus, 1U)), cpu_(cpu_ns) {
        ++ceilings_;
    }
    ~CpuCeiling() { --ceilings_; }
    CpuCeiling(const CpuCeiling&) = delete;
    CpuCeiling& operator=(const CpuCeiling&) = delete;

    /// When the next turn may begin, as far as the CPU goes, and as far as stops go. A time that is
    /// over is as good as now.
    struct Start {
        std::uint64_t cpu_ns = 0;
        std::uint64_t stops_ns = 0;
    };
    /// After a turn. `now_ns` is on the caller's own clock, as the answer; `cpu_ns` what the thread
    /// has run, `standing_ns` how long threads of the target have stood still.
    Start next_start(std::uint64_t now_ns, std::uint64_t cpu_ns, std::uint64_t standing_ns) {
        const Start next{.cpu_ns = cpu_.next_start(last_ns_, cpu_ns, cpu_share_now()),
                         .stops_ns = stops_.next_start(last_ns_, standing_ns, shares_.stops)};
        last_ns_ = now_ns;
        return next;
    }

    /// From the next turn on.
    void set_cpu_share(double share) { shares_.cpu = share; }

    /// What the thread has run since the last turn does not count.
    void forgive_cpu(std::uint64_t cpu_ns) { cpu_.forgive(cpu_ns); }

  private:
    double cpu_share_now() const {
        const unsigned ceilings = ceilings_;
        return ceilings <= cpus_ ? shares_.cpu : std::min(shares_.cpu, 0.5 * cpus_ / ceilings);
    }

    inline static std::atomic<unsigned> ceilings_ = 0;

    Shares shares_;
    const unsigned cpus_;
    ShareBudget cpu_;
    ShareBudget stops_;
    std::uint64_t last_ns_ = 0;  ///< End of the turn before.
};

}  // namespace pystack::sampling
