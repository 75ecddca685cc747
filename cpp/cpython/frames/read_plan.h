#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "cpython/frames/frame_chain_walker.h"
#include "cpython/frames/frame_format.h"
#include "cpython/frames/proof_copies.h"
#include "cpython/frames/proved_stack.h"
#include "cpython/frames/recent_ranges.h"
#include "cpython/frames/stack_ranges.h"

namespace pystack::cpython {

/// What to read to prove the stack of one thread state again, and what was proved last. Frames stay
/// where they are, and those of a running program come back to where frames were: so the plan
/// follows the stack from proof to proof. Made by its owner, used and kept up to date by a
/// StackReader. Not thread-safe.
class ReadPlan {
  public:
    /// The memory that a frame needs from its proof until it is printed, besides its bytes in the
    /// copies. Approximate.
    static constexpr std::uint64_t kFrameBytes = 768;

    // For the owner.

    /// Whether a stack was proved.
    bool proved() const { return stack_.exists(); }
    /// The stack of the last proof, outermost first. Valid if `proved`.
    std::span<const RawFrame> frames() const { return stack_.frames(); }
    /// How many of the outermost frames are as they were at the last call, instruction included.
    std::size_t consume_unchanged() { return stack_.consume_unchanged(); }
    /// The asyncio task that the thread ran when its stack was proved; null if there was none, or
    /// it is not read.
    RemoteAddr running_task() const { return stack_.running_task(); }
    /// See StackOutcome::c_frame.
    RemoteAddr c_frame() const { return cframe_.begin; }
    /// Forgets all: for a thread state that may have become another thread's.
    void clear() { *this = {}; }

    // For StackReader: what a proof needs to know.

    const StackRanges& ranges() const { return ranges_; }
    const ProvedStack& last_proof() const { return stack_; }
    /// How many frames there is room for.
    std::size_t most_frames() const { return most_frames_; }

    /// Plans to prove a stack that was walked once, and may be torn. `innermost_first`: its frames;
    /// `is_truncated`: it has more of them. Removes the outermost frames from the list if the
    /// frames and the copies of a proof would need more memory than `most_bytes` allows.
    void build(const FrameFormat& format, const FrameChainWalker::Start& start,
               std::vector<RawFrame>& innermost_first, bool is_truncated, std::uint64_t most_bytes);

    /// Begins a proof. Returns whether it continues the last one: this ended just now, so its bytes
    /// serve as the first copy of the far ranges.
    bool begin_proof(bool may_continue);
    /// Whether the proof that was begun continues the last one.
    bool continues() const { return continues_; }
    /// Ends a proof whose batch was read from `read_begin` on. Returns false if it continues the
    /// last proof and was read too late for that: then its copies prove nothing. The next proof
    /// continues this one if it is accepted, or none.
    bool end_proof(std::chrono::steady_clock::time_point read_begin);

    // After end_proof(), what came of it:

    /// Where the thread state says that the stack begins.
    void set_start(const FrameChainWalker::Start& start);
    /// The walk needed bytes that were not in the plan. Adds them to the plan, or forgets all
    /// ranges if this happened too often since the last proof.
    void add_missing(const FrameFormat& format, RemoteRange missing);
    /// This stack was proved. `read_end`: when its batch had been read.
    void accept(const FrameFormat& format, const FoundStack& found, const ProofCopies& copies,
                std::chrono::steady_clock::time_point read_end);

    /// Whether the frames of the last proof are read from the outermost in, and then back.
    bool is_in_order() const { return stack_.is_in_order(ranges_); }
    /// Plans again for the frames of the last proof, whose bytes are kept.
    void rebuild(const FrameFormat& format);

  private:
    void build_ranges(const FrameFormat& format, RemoteAddr thread_state,
                      std::span<const RawFrame> innermost_first);
    /// Whether the stack has moved so far that the ranges should follow.
    bool is_stale(const FrameFormat& format) const;

    StackRanges ranges_;
    RecentRanges recent_;
    ProvedStack stack_;
    RemoteRange cframe_;           ///< The pointer to the innermost frame, if in a C frame.
    RemoteAddr data_stack_limit_;  ///< See FrameChainWalker::Start.
    RemoteAddr highest_end_;       ///< See StackRanges::Stack.
    std::size_t most_frames_ = SIZE_MAX;
    std::uint32_t proofs_since_build_ = 0;
    std::uint32_t misses_ = 0;  ///< Walks since the last proof that needed other bytes.

    bool may_continue_ = false;  ///< See ProofCopies::can_continue.
    bool continues_ = false;
    std::chrono::steady_clock::time_point proved_at_;  ///< The end of the last proof's reading.

    // Used while ranges are built again.
    StackRanges old_ranges_;
    std::vector<RawFrame> innermost_first_;
};

}  // namespace pystack::cpython
