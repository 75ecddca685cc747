#pragma once

#include <cstddef>
#include <cstdint>

#include "model/sample.h"

namespace pystack::sampling {

/// No limit of what a sample stands for.
constexpr std::uint64_t kAnyWeight = ~std::uint64_t{0};

/// Where the row of a thread's last sample is, so that an equal sample is added to it.
struct RowPlace {
    std::uint64_t batch = 0;  ///< Number of the batch; 0: none.
    std::size_t row = 0;
};

/// One round of samples, one of each thread.
struct Tick {
    std::uint64_t now_ns;          ///< CLOCK_MONOTONIC.
    std::uint64_t from_ns;         ///< The samples speak for the time from here,
    std::uint64_t until_ns;        ///< to here; not before `now_ns`.
    std::uint64_t previous_ns;     ///< Until when the tick before looked; of the first, its own.
    std::uint64_t most_weight_ns;  ///< For more than this a sample does not stand: TickSpacing.
    model::Batch& batch;           ///< The samples go here.
    model::SamplerStats& stats;
};

}  // namespace pystack::sampling
