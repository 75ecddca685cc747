#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

#include "cpython/frames/frame_chain_walker.h"
#include "cpython/frames/frame_format.h"
#include "cpython/frames/paged_frames.h"
#include "cpython/frames/proof_copies.h"
#include "cpython/frames/read_plan.h"
#include "cpython/frames/stack_outcome.h"
#include "cpython/frames/stack_proof.h"
#include "cpython/layout/layout.h"
#include "memory/read_batch.h"
#include "memory/timed_reader.h"

namespace pystack::cpython {

/// Reads the chain of frames of one thread state. Holds buffers that are reused, so a reader in
/// steady use allocates nothing. Not thread-safe.
///
/// A running target is read until a StackProof accepts what was read.
class StackReader {
  public:
    /// How much memory the frames of one stack may need, unless the caller says how much. The
    /// copies of a proof may need half as much again, which is free when the proof has ended.
    static constexpr std::uint64_t kMostFrameBytes = 256 << 20;

    StackReader(const memory::MemoryReader& memory, const Layout& layout, std::size_t max_depth);
    StackReader(const StackReader&) = delete;
    StackReader& operator=(const StackReader&) = delete;

    /// For a stopped target or a core: reads once. `frames`: innermost first, as far as it went,
    /// and at most `most`.
    StackOutcome read_stopped(RemoteAddr thread_state, std::vector<RawFrame>& frames,
                              std::size_t most = SIZE_MAX);

    /// For a running target: at most `attempts` proofs, else kTorn. `frames` are those of the stack
    /// that was proved, innermost first, else none. `plan` is used and left up to date. The stack
    /// is cut where the frames would take more than `most_bytes`, or a proof of them half as much
    /// again.
    StackOutcome read_running(RemoteAddr thread_state, ReadPlan& plan, int attempts,
                              std::vector<RawFrame>& frames,
                              std::uint64_t most_bytes = kMostFrameBytes);

    /// The same, with the frames in the plan, and only when they were proved.
    ///
    /// `certain`: not even a program that repeats itself fast can fake the stack. That needs a fast
    /// read that met the frames from the outermost in and back; and one of these: the proof before
    /// showed the same stack; or, after the thread state was read, it pointed to the same C frame,
    /// where there are C frames, and the innermost frame did not look as if it had returned. What
    /// lies above a running frame is left over from earlier calls, and may look like its callees.
    /// Short calls are seldom met so; which calls a program makes can be learnt from those that
    /// are.
    ///
    /// After the time `until` there are no more than a few attempts.
    using Clock = std::chrono::steady_clock;
    StackOutcome prove(RemoteAddr thread_state, ReadPlan& plan, int attempts, bool certain,
                       Clock::time_point until = Clock::time_point::max());

    // The steps of one proof, for a caller that reads more than stacks in one call. Each add_*
    // returns the index of its first piece; what was added is judged after the batch was read.

    /// Whether the plan knows where this thread state's stack was.
    bool has_plan(RemoteAddr thread_state, const ReadPlan& plan) const {
        return plan.ranges().is_for(thread_state);
    }
    /// Deep stacks take long to read. If the last proof ended only just now, its second copy of all
    /// but the innermost frames may be the first of this one (`may_continue`).
    std::size_t add_proof(ReadPlan& plan, memory::ReadBatch& batch, bool may_continue) const {
        return ProofCopies::add_to(batch, plan.ranges(), plan.begin_proof(may_continue));
    }
    /// What is accepted is in the plan. kTorn: nothing was, or it is not `certain`, see prove().
    StackOutcome judge_proof(ReadPlan& plan, const memory::ReadBatch& batch, std::size_t first,
                             memory::ReadTiming timing, bool certain);
    /// The piece of the proof that is the thread state.
    static std::size_t thread_piece(const ReadPlan& plan, std::size_t first) {
        return plan.ranges().reverse_piece(first, plan.ranges().thread_range());
    }

    /// For a proved thread that does not move: everything once, the thread state last.
    std::size_t add_look(const ReadPlan& plan, memory::ReadBatch& batch) const {
        return plan.last_proof().add_look(plan.ranges(), batch);
    }
    /// Of what add_look() added: see ProvedStack::is_unchanged.
    bool is_unchanged(const ReadPlan& plan, const memory::ReadBatch& batch,
                      std::size_t first) const {
        return plan.last_proof().is_unchanged(format_, plan.ranges(), batch, first);
    }

    /// Reads a batch that has proofs in it.
    memory::ReadTiming read(memory::ReadBatch& batch) { return timed_.read(batch); }

    std::size_t max_depth() const { return max_depth_; }
    const FrameFormat& format() const { return format_; }
    /// See FrameFormat. Plans that were made before are of no use then.
    bool add_running_task(std::uint32_t offset) { return format_.add_running_task(offset); }

  private:
    StackOutcome walk_stopped(RemoteAddr thread_state, std::vector<RawFrame>& frames,
                              std::size_t most, FrameChainWalker::Start& start);
    void wait_up_to(std::chrono::nanoseconds longest);
    void make_plan(RemoteAddr thread_state, ReadPlan& plan);

    FrameFormat format_;
    const std::size_t max_depth_;
    std::uint64_t most_bytes_ = kMostFrameBytes;  ///< Of the frames of one stack.
    memory::TimedReader timed_;
    StackProof proof_;
    PagedFrames pages_;
    ProofCopies copies_;
    memory::ReadBatch batch_;
    std::vector<RawFrame> found_;  ///< By make_plan, innermost first.
    std::minstd_rand random_;
};

}  // namespace pystack::cpython
