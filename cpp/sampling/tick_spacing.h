#pragma once

#include <algorithm>
#include <cstdint>

namespace pystack::sampling {

/// How far apart the ticks of a recording usually are, and so for how much time one sample can
/// speak. After a longer pause (the recorder had no CPU, or its last tick took long) nobody knows
/// what the target did meanwhile.
class TickSpacing {
  public:
    explicit TickSpacing(double rate_hz) : usual_ns_(1e9 / rate_hz) {}

    /// The time since the last tick. Returns how much of it the new samples may stand for.
    std::uint64_t add(std::uint64_t since_last_ns) {
        const double longest = kMostIntervals * usual_ns_;
        const double counted = std::min(static_cast<double>(since_last_ns), longest);
        usual_ns_ += (counted - usual_ns_) / kMemory;
        return static_cast<std::uint64_t>(longest);
    }

  private:
    static constexpr double kMostIntervals = 4;
    /// A rate that is lower than the requested one (a busy machine, many threads, --max-cpu) is
    /// usual after some of so many ticks.
    static constexpr double kMemory = 8;

    double usual_ns_;
};

}  // namespace pystack::sampling
