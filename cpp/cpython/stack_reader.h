#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <random>
#include <span>
#include <utility>
#include <vector>

#include "base/result.h"
#include "cpython/frame_format.h"
#include "cpython/layout.h"
#include "cpython/read_pace.h"
#include "cpython/read_plan.h"
#include "memory/memory_copy.h"
#include "memory/read_batch.h"
#include "model/snapshot.h"

namespace pystack::cpython {

/// What one read of a stack came to.
struct StackOutcome {
    model::StackEnd end = model::StackEnd::kComplete;
    std::optional<Error> problem;
    int attempts = 1;

    static StackOutcome unreadable(Error problem) {
        return {.end = model::StackEnd::kUnreadable, .problem = std::move(problem)};
    }
};

/// Reads the chain of frames of one thread state. Holds buffers that are reused, so a reader in
/// steady use allocates nothing. Not thread-safe.
///
/// On a running target nothing can be trusted that was read once: the stack moves ten million times
/// a second. A proof therefore reads the frames, the thread state and the frames again in one
/// system call. The thread state says at one instant which frame is the innermost; it is accepted
/// only when the frames were the same before and after that instant: byte-equal below the innermost
/// one (a caller's frame, its instruction and its variables included, cannot change while its
/// callee runs), equal in identity for the innermost, and every caller stands at a call. The
/// outermost frames are read first and last. See docs/architecture.md for what this proves on which
/// version.
class StackReader {
  public:
    StackReader(const memory::MemoryReader& memory, const Layout& layout, std::size_t max_depth);

    /// For a stopped target or a core: reads once. `frames`: innermost first, as far as it went.
    StackOutcome read_still(RemoteAddr thread_state, std::vector<RawFrame>& frames);

    /// For a running target: at most `attempts` proofs, else kTorn. `frames` are those of the stack
    /// that was proved, innermost first, else none. `plan` is used and left up to date.
    StackOutcome read_moving(RemoteAddr thread_state, ReadPlan& plan, int attempts,
                             std::vector<RawFrame>& frames);

    /// The same, with the frames in the plan, and only when they were proved.
    ///
    /// `certain`: not even a program that repeats itself fast can fake it. That needs a swift read
    /// that met the frames from the outermost in and back; and that, after the thread state was
    /// read, this pointed to the same C frame, where there are such, and the innermost frame did
    /// not look as if it had returned, or that the proof before showed the same. What lies above a
    /// running frame is left over from earlier calls, and may look like its callees. Short calls
    /// are seldom met so; which calls a program makes can be learnt from those that are.
    StackOutcome prove(RemoteAddr thread_state, ReadPlan& plan, int attempts, bool certain);

    // The steps of one proof, for a caller that reads more than stacks in one call. Each add_*
    // returns the index of its first piece; what was added is judged after the batch was read.

    /// Whether the plan knows where this thread state's stack was.
    bool has_plan(RemoteAddr thread_state, const ReadPlan& plan) const {
        return !plan.ranges_.empty() && plan.thread_state_ == thread_state;
    }
    /// Deep stacks take long to read. Where the last proof ended only just now, its second copy of
    /// all but the hot end may be the first of this one (`may_continue`).
    std::size_t add_proof(ReadPlan& plan, memory::ReadBatch& batch, bool may_continue) const;
    StackOutcome judge_proof(ReadPlan& plan, const memory::ReadBatch& batch, std::size_t first,
                             Pace pace, bool certain);
    /// The piece of the proof that is the thread state.
    static std::size_t thread_piece(const ReadPlan& plan, std::size_t first) {
        return first + plan.ranges_.size() - 1 - plan.thread_range_;
    }

    /// For a proved thread that does not move: everything once, the thread state last.
    std::size_t add_look(const ReadPlan& plan, memory::ReadBatch& batch) const;
    /// Whether every byte of the stack, the innermost frame's instruction included, is as it was
    /// proved. Whatever a moving thread does between the two readings, what is confirmed was a
    /// stack once.
    bool is_unchanged(const ReadPlan& plan, const memory::ReadBatch& batch,
                      std::size_t first) const;

    /// Reads a batch that has proofs in it.
    Pace read(memory::ReadBatch& batch) { return paced_.read(batch); }

    const FrameFormat& format() const { return format_; }
    /// See FrameFormat. Plans that were made before are of no use then.
    bool add_running_task(std::uint32_t offset) { return format_.add_running_task(offset); }

  private:
    class StillSource;
    /// One planned range, as it was read.
    struct Piece {
        const std::byte* first = nullptr;
        const std::byte* second = nullptr;
        std::uint32_t size = 0;   ///< That both copies have.
        std::uint32_t agree = 0;  ///< Length of the beginning that is equal in both copies.
        std::uint32_t known = 0;  ///< Length of the beginning that is as it was at the last proof.
    };
    using Place = ReadPlan::Place;

    static Error cut_chain(const RawFrame& outermost) {
        return corrupt("link to the caller of a frame", outermost.address);
    }
    StackOutcome walk_still(StillSource& source, RemoteAddr thread_state,
                            std::vector<RawFrame>& frames);
    void take_pieces(const ReadPlan& plan, const memory::ReadBatch& batch, std::size_t first);

    void wait_up_to(std::chrono::nanoseconds longest);

    StackOutcome walk(ReadPlan& plan);
    Result<RemoteAddr> first_frame(ReadPlan& plan);
    /// Which frame of the last proof lies there, if its bytes are as they were then.
    std::optional<std::size_t> known_frame(const ReadPlan& plan, RemoteAddr address,
                                           const Place& place) const;
    /// Whether that frame and all its callers are as they were at the last proof, in both copies.
    bool tail_holds(const ReadPlan& plan, std::size_t innermost) const;
    bool is_known(const ReadPlan& plan, const Place& place) const;
    bool agrees(std::uint32_t range, std::uint32_t begin, std::uint32_t end) const;
    /// Whether bytes of a caller are the same in both copies; those that were not read do not
    /// count.
    bool stands_still(const ReadPlan& plan, RemoteAddr begin, RemoteAddr end);
    bool frames_agree(const ReadPlan& plan);
    /// Whether each frame that was called without leaving the interpreter loop has a caller that
    /// stands at a call: one that does not has returned, and what lies above it is left over.
    bool callers_call(const ReadPlan& plan) const;
    bool innermost_looks_left(const ReadPlan& plan) const;
    void accept(ReadPlan& plan);
    bool can_continue(const ReadPlan& plan) const;

    FrameFormat format_;
    const std::size_t max_depth_;
    PacedReader paced_;
    memory::MemoryCopy pages_;
    memory::ReadBatch batch_;
    std::vector<Piece> pieces_;    ///< As the plan's ranges.
    std::vector<RawFrame> fresh_;  ///< Innermost first: the frames of a walk that were not known.
    std::vector<Place> fresh_places_;  ///< As fresh_.
    std::size_t tail_ = 0;             ///< How many of the plan's outermost frames follow those.
    RemoteRange found_cframe_;         ///< By read_still, with the limit of the data stack.
    RemoteAddr found_limit_;
    std::minstd_rand random_;
    std::size_t last_range_ = 0;  ///< Search hint: stacks are walked in order.
};

}  // namespace pystack::cpython
