#pragma once

#include <cstdint>

#include "model/sample.h"

namespace pystack::sampling {

/// One round of samples, one of each thread.
struct Tick {
    std::uint64_t now_ns;       ///< CLOCK_MONOTONIC.
    std::uint64_t previous_ns;  ///< Of the tick before; of the first one, its own.
    model::Batch& batch;        ///< The samples go here.
    model::SamplerStats& stats;
};

}  // namespace pystack::sampling
