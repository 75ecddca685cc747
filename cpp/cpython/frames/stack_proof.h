#pragma once

#include <cstddef>
#include <optional>
#include <vector>

#include "base/error.h"
#include "cpython/frames/frame_chain_walker.h"
#include "cpython/frames/frame_format.h"
#include "cpython/frames/proof_copies.h"
#include "cpython/frames/proved_stack.h"
#include "cpython/frames/stack_ranges.h"
#include "model/snapshot.h"

namespace pystack::cpython {

/// Judges whether two copies of a running thread's stack show one stack that existed. Reads
/// nothing and changes nothing: the same copies and the same last proof give the same verdict.
///
/// On a running target nothing can be trusted that was read once: the stack moves ten million times
/// a second. A proof therefore reads the frames, the thread state and the frames again in one
/// system call. The thread state says at one instant which frame is the innermost; it is accepted
/// only when the frames were the same before and after that instant: byte-equal below the innermost
/// one (a caller's frame, its instruction and its variables included, cannot change while its
/// callee runs), equal in identity for the innermost, and every caller stands at a call. The
/// outermost frames are read first and last. See docs/architecture.md for what this proves on which
/// version.
class StackProof {
  public:
    /// What is judged. `copies` are of `ranges`, compared with `last`.
    struct Evidence {
        const StackRanges& ranges;
        const ProvedStack& last;
        const ProofCopies& copies;
    };

    struct Verdict {
        /// kTorn: the copies do not show one stack. kUnreadable: they lack the thread state.
        /// Otherwise `found` was the stack, and ends so.
        model::StackEnd end = model::StackEnd::kTorn;
        std::optional<Error> problem;  ///< Why, if it is known.
        /// What the thread state says, if the chain was walked.
        std::optional<FrameChainWalker::Start> start;
        std::optional<RemoteRange> missing;  ///< What the walk needed and the copies lack.
        FoundStack found;  ///< Valid until the next judge(), if the stack was proved.
        /// The thread did not return from the innermost frame while it was read, or the last proof
        /// found the same stack.
        bool stayed = false;

        bool is_proved() const { return !model::is_lost(end); }
    };

    /// `format` must outlive it.
    explicit StackProof(const FrameFormat& format) : format_(format) {}

    /// `is_one_read`: the batch was read without an interruption, or its ends are not one moment.
    /// `most_frames`: a stack with more ends with kDepthLimit.
    Verdict judge(const Evidence& evidence, bool is_one_read, std::size_t most_frames);

  private:
    model::StackEnd walk(const Evidence& evidence, std::size_t most_frames, Verdict& verdict);
    /// Whether each frame that was called without leaving the interpreter loop has a caller that
    /// stands at a call: one that does not has returned, and what lies above it is left over.
    bool callers_are_at_call(const Evidence& evidence) const;
    bool frames_agree(const Evidence& evidence) const;
    /// Whether both copies agree about a caller: its header, and its values up to the frame that it
    /// called, where these were read.
    bool caller_agrees(const Evidence& evidence, const RawFrame& caller,
                       const StackRanges::Place& place, const RawFrame& callee,
                       std::size_t& hint) const;
    bool bytes_agree(const Evidence& evidence, RemoteAddr begin, RemoteAddr end,
                     std::size_t& hint) const;
    bool stayed(const Evidence& evidence) const;

    const FrameFormat& format_;
    // The walk's frames that are not as they were at the last proof, innermost first. Kept, so that
    // a proof allocates nothing.
    std::vector<RawFrame> fresh_;
    std::vector<StackRanges::Place> places_;  ///< Of fresh_.
    std::size_t known_ = 0;                   ///< How many frames of the last proof follow.
};

}  // namespace pystack::cpython
