#pragma once

#include <cstdint>

#include "base/work_limits.h"

namespace pystack {

/// Takes steps from limits that are shared between threads, many at a time, so that a turn of a
/// short loop costs next to nothing. Belongs to one loop.
class StepBatch {
  public:
    explicit StepBatch(WorkLimits& limits) : limits_(limits) {}

    /// False when the limit is reached or the reading was cancelled.
    bool charge() {
        if (left_ == 0) {
            if (!limits_.charge_steps(kBatch)) return false;
            left_ = kBatch;
        }
        --left_;
        return true;
    }

  private:
    static constexpr std::uint32_t kBatch = 64;

    WorkLimits& limits_;
    std::uint32_t left_ = 0;
};

}  // namespace pystack
