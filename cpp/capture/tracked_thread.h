#pragma once

#include <cstddef>
#include <cstdint>

#include "capture/frame_interner.h"
#include "capture/task_watch.h"
#include "capture/thread_activity.h"
#include "cpython/read_plan.h"

namespace pystack::capture {

/// What is kept of one thread state between its samples.
struct TrackedThread {
    /// What the batch of the tick holds of it.
    enum class Asked : std::uint8_t { kState, kLook, kProof };

    std::uint32_t index = 0;  ///< Of its identity.
    std::uint64_t unique_id = 0;
    std::uint64_t last_ns = 0;
    cpython::ReadPlan plan;
    InternedStack stack;
    TaskWatch::Known task;
    // Proofs that showed no caller of a generator, since the last that did not, and since when.
    int cut_proofs = 0;
    std::uint64_t cut_since_ns = 0;
    int same_proofs = 0;  ///< In a row, that found the same.
    bool quiet = false;   ///< Does not move, as far as the last proofs say.
    bool sleeps = false;  ///< And has not for long, as of lately.
    bool rests = false;   ///< Does not run, as the RestWatch knows: it is not looked at.
    Asked asked = Asked::kState;
    std::size_t first_piece = 0;
    // Its row in the batch that is being filled, to which an equal sample is added.
    std::uint64_t row_batch = 0;
    std::size_t row = 0;
    ThreadActivity activity;
    // With the target stopped for samples:
    std::uint8_t activity_bits = 0;  ///< Just before the stop.
    std::int32_t stopped_tid = 0;    ///< Whose native frames are in `stack`; 0: not known.
    bool is_whole = true;            ///< They are all there.

    void forget_stack() {
        plan.clear();
        same_proofs = 0;
        quiet = false;
        rests = false;
    }
};

}  // namespace pystack::capture
