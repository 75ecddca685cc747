#pragma once

#include <cstddef>
#include <memory>
#include <optional>

#include "base/work_limits.h"
#include "merge/native_options.h"

namespace pystack::sampling {

struct SamplerOptions {
    double rate_hz = 100;
    bool stop = false;        ///< Stop the target for each sample, instead of proving the samples.
    bool exhaustive = false;  ///< As in CaptureOptions.
    std::size_t max_depth = 100'000;
    /// Native frames too: the threads that have run are stopped for each sample.
    std::optional<merge::NativeOptions> native{};
    /// As in CaptureOptions.
    bool raise_priority = true;
    /// The part of one CPU that the sampling thread may use on the average. Ticks above it are
    /// skipped and counted. At 1 there is no limit.
    double max_cpu_share = 1;
    /// What the recording may keep, and its end: see Sampler::stop.
    std::shared_ptr<WorkLimits> limits = std::make_shared<WorkLimits>();

    /// Whether the target stands still for each sample.
    bool stops() const { return stop || native.has_value(); }
};

}  // namespace pystack::sampling
