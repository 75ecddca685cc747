#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "cpython/frames/read_plan.h"
#include "process/proc_files.h"
#include "sampling/frame_interner.h"
#include "sampling/stop_need.h"
#include "sampling/task_names.h"
#include "sampling/thread_activity.h"
#include "sampling/tick.h"
#include "sampling/waiting.h"

namespace pystack::sampling {

/// What is kept of one thread state between its samples.
struct TrackedThread {
    // Written by ThreadTable.
    std::uint32_t index = 0;  ///< Of its identity.
    std::uint64_t unique_id = 0;
    bool is_left_out = false;  ///< There was no room for its identity: it has no samples.

    // Written by BatchWriter.
    std::uint64_t last_ns = 0;  ///< Until then the last try speaks.
    RowPlace row;

    /// Since the last hand-over. Written by BatchWriter, the kernel's times by CpuShares.
    struct Cpu {
        std::uint64_t sampled_ns = 0;  ///< The weights of its samples.
        std::uint64_t running_ns = 0;  ///< Of those that found it running.
        std::uint64_t gaps_ns = 0;     ///< For which no sample stands.
        bool is_followed = false;
        bool is_known = false;    ///< To the kernel, by its tid.
        process::RunTimes times;  ///< At the last hand-over.
    };
    Cpu cpu;

    InternedStack stack;
    ThreadActivity activity;
    Waiting waiting;

    // Where there are several interpreters, of its last sample; written by OsThreads.
    bool runs_python = false;
    std::optional<RemoteAddr> place{};  ///< See cpython::place_on_c_stack.
    RemoteAddr outermost;               ///< The frame that `place` was searched for.
    bool is_order_guessed = false;      ///< Of the first state: that of the thread's states.

    // Of a running target, written by ThreadProver.
    cpython::ReadPlan plan;
    TaskNames::Known task;
    StopNeed stop_need;  ///< Written by RunningEngine.
    // Proofs that showed no caller of a generator, since the last that did not, and since when.
    int cut_proofs = 0;
    std::uint64_t cut_since_ns = 0;

    /// How much its stack moves. Each value includes the ones before it.
    enum class Motion : std::uint8_t {
        kMoving,
        kQuiet,   ///< The last proofs saw the same stack: it is only looked at.
        kAsleep,  ///< And has not moved for long.
        kIdle,    ///< And has not run, says the IdleThreadFilter: it is not read.
    };
    Motion motion() const { return motion_; }
    bool is_quiet() const { return motion_ >= Motion::kQuiet; }
    bool is_idle() const { return motion_ == Motion::kIdle; }

    /// After each sample: whether the same stack was proved as the time before.
    void note_sample(bool is_same) {
        same_proofs_ = is_same ? std::min(same_proofs_ + 1, kProofsBeforeQuiet) : 0;
        if (same_proofs_ < kProofsBeforeQuiet) {
            motion_ = Motion::kMoving;
        } else {
            motion_ = std::max(motion_, Motion::kQuiet);
        }
    }
    /// Of a quiet thread.
    void set_motion(Motion motion) { motion_ = motion; }

    /// What a tick's read holds of it; written by TickReader.
    enum class Asked : std::uint8_t { kState, kLook, kProof };
    Asked asked = Asked::kState;
    std::size_t first_piece = 0;

    // Of a target that is stopped for samples, written by StoppedEngine.
    std::uint8_t activity_bits = 0;  ///< Just before the stop.
    std::int32_t stopped_tid = 0;    ///< Whose native frames are in `stack`; 0: not known.
    bool is_whole = true;            ///< They are all there.
    std::optional<cpython::RawFrame> innermost{};  ///< At its last stop.
    bool has_moved = true;                         ///< Since the stop before.

    /// Its memory may mean something else now.
    void forget_stack() {
        plan.clear();
        same_proofs_ = 0;
        motion_ = Motion::kMoving;
    }

  private:
    /// So many proofs in a row find the same stack, before it is looked for only once.
    static constexpr int kProofsBeforeQuiet = 2;

    int same_proofs_ = 0;
    Motion motion_ = Motion::kMoving;
};

}  // namespace pystack::sampling
