#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>

#include "base/work_limits.h"
#include "merge/native_options.h"

namespace pystack::sampling {

/// Whether a thread is stopped for its samples.
enum class StopPolicy : std::uint8_t {
    kNever,
    kWhenNeeded,  ///< If most of them cannot be proved, and stops are allowed.
    kAlways,
};

struct SamplerOptions {
    double rate_hz = 100;
    StopPolicy stop = StopPolicy::kNever;
    bool exhaustive = false;  ///< As in CaptureOptions.
    std::size_t max_depth = 100'000;
    /// Native frames too: threads that have run are stopped for each sample.
    std::optional<merge::NativeOptions> native{};
    /// Samples of suspended tasks of asyncio and trio, too.
    bool tasks = false;
    /// As in CaptureOptions.
    bool raise_priority = true;
    /// The part of one CPU that the sampling thread may use on the average. Ticks above it are
    /// skipped and counted. At 1 there is no limit.
    double max_cpu_share = 1;
    /// The part of the time in which some thread may stand still for samples. Ticks above it are
    /// skipped and counted, too.
    double max_pause_share = 1;
    /// What the recording may keep, and its end: see Sampler::stop.
    std::shared_ptr<WorkLimits> limits = std::make_shared<WorkLimits>();

    /// Whether threads stand still for each sample.
    bool stops() const { return stop == StopPolicy::kAlways || native.has_value(); }
};

}  // namespace pystack::sampling
