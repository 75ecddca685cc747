#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/result.h"
#include "cpython/layout.h"
#include "memory/memory_copy.h"
#include "model/snapshot.h"

namespace pystack::cpython {

/// One frame of the interpreter as it stands in memory, before its code object is looked at.
struct RawFrame {
    RemoteAddr address;
    RemoteAddr code;  ///< PyCodeObject*; meaningless when `shim`.
    std::uint64_t instruction =
        0;  ///< See Layout::instruction: an address, or f_lasti sign-extended.
    std::int32_t tlbc_index =
        0;  ///< Which copy of the bytecode runs (free-threaded 3.14+), else 0.
    std::uint8_t owner = 0;
    bool shim =
        false;  ///< Marks one C-level activation of the interpreter loop; runs no Python code.
    bool is_entry = false;  ///< 3.11: the first frame of an activation.
    /// The frame is alive and may be a caller. From 3.11: the interpreter loop has left it for
    /// another and saved its stack pointer, which it clears when it comes back [StackTop]; 3.14
    /// also saves it around calls of C functions. Below: it is marked as executing, which a frame
    /// that has returned and waits to be used again is not.
    bool calls = true;

    bool operator==(const RawFrame&) const = default;
};

/// What one read of a stack came to. `frames` of the call hold what was read, innermost first,
/// whatever the outcome.
struct StackOutcome {
    model::StackEnd end = model::StackEnd::kComplete;
    std::optional<Error> problem;
    int attempts = 1;
};

/// Where a thread's stack was at its last read: the bytes to ask for next time. Belongs to one
/// thread state.
struct ReadPlan {
    std::vector<RemoteRange> ranges;
};

/// Reads the chain of frames of one thread state. Holds buffers that are reused, so a reader in
/// steady use allocates nothing. Not thread-safe.
///
/// On a running target nothing can be trusted that was read once: the stack moves ten million times
/// a second. read_moving therefore reads the frames, the thread state and the frames again in one
/// system call. The thread state says at one instant which frame is the innermost; it is accepted
/// only when the frames were the same before and after that instant: byte-equal below the innermost
/// one (a caller's frame, its instruction and its variables included, cannot change while its
/// callee runs), equal in identity for the innermost, and every caller stands at a call. See
/// docs/architecture.md for what this proves on which version.
class StackReader {
  public:
    StackReader(const memory::MemoryReader& memory, const Layout& layout, std::size_t max_depth);

    /// For a stopped target or a core: reads once.
    StackOutcome read_still(RemoteAddr thread_state, std::vector<RawFrame>& frames);

    /// For a running target: at most `attempts` proofs, else kTorn with the frames of the last
    /// attempt. `plan` is used and left up to date.
    StackOutcome read_moving(RemoteAddr thread_state, ReadPlan& plan, int attempts,
                             std::vector<RawFrame>& frames);

  private:
    class StillSource;
    class CopySource;

    template <class Source>
    StackOutcome walk(Source& source, RemoteAddr thread_state, std::vector<RawFrame>& frames) const;
    template <class Source>
    Result<RemoteAddr> first_frame(Source& source, RemoteAddr thread_state) const;
    Result<RawFrame> parse(RemoteAddr address, std::span<const std::byte> header,
                           RemoteAddr& previous) const;

    /// Whether a chain of frames can end here. A generator that yields is unlinked from its caller
    /// an instruction before it stops being the current frame: a thread may be seen in between.
    bool is_outermost(const RawFrame& frame) const;
    void plan_from(RemoteAddr thread_state, std::span<const RawFrame> frames, ReadPlan& plan) const;
    /// Whether each frame that was called without leaving the interpreter loop has a caller that
    /// stands at a call: one that does not has returned, and what lies above it is left over.
    bool callers_call(std::span<const RawFrame> frames) const;
    /// Fills both copies; false when it took too long to be one moment.
    bool read_twice(const ReadPlan& plan);
    bool copies_agree(const ReadPlan& plan, std::span<const RawFrame> frames) const;
    /// In a plan: the thread state comes first, on 3.11 and 3.12 the C frame's pointer second.
    std::size_t first_frame_range() const {
        return layout_.frame_chain == FrameChain::kCFrame ? 2 : 1;
    }
    std::optional<std::size_t> offset_of(const ReadPlan& plan, RemoteAddr address,
                                         std::size_t size) const;
    bool same_bytes(const ReadPlan& plan, RemoteRange range) const;

    const memory::MemoryReader& memory_;
    const Layout layout_;
    const std::size_t max_depth_;
    // The part of a frame that the walk needs, and of a thread state that locates the stack.
    RemoteRange header_;  ///< Offsets, not addresses.
    RemoteRange thread_;  ///< Offsets, not addresses.
    memory::MemoryCopy pages_;
    std::vector<std::byte> first_copy_;
    std::vector<std::byte> second_copy_;
    std::vector<std::size_t> plan_offsets_;  ///< Start of each planned range in the copies.
    std::vector<std::size_t> plan_sizes_;    ///< Bytes of it that both copies have.
    std::vector<memory::ReadRequest> requests_;
    /// What a piece of a batch takes when nothing disturbs: the least seen, in ns. By file it takes
    /// more.
    std::int64_t fastest_piece_ns_ = 1'000'000;
    mutable std::size_t last_range_ = 0;  ///< Search hint of offset_of: stacks are walked in order.
};

}  // namespace pystack::cpython
