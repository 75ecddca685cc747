#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "cpython/frames/frame_format.h"
#include "cpython/frames/proof_copies.h"
#include "cpython/frames/stack_ranges.h"
#include "memory/read_batch.h"

namespace pystack::cpython {

/// A stack as a proof found it, by what is new since the proof before.
struct FoundStack {
    std::span<const RawFrame> fresh;             ///< Innermost first.
    std::span<const StackRanges::Place> places;  ///< Of `fresh`.
    /// How many of the outermost frames of the proof before are the callers of `fresh`.
    std::size_t known = 0;
    bool is_truncated = false;  ///< There are more callers than were walked.
    RemoteAddr running_task;    ///< Null if there is none, or it is not read.

    std::size_t size() const { return known + fresh.size(); }
};

/// The last proved stack of a thread: its frames, and the bytes that the proof saw.
///
/// The bytes belong to StackRanges: reset() when these are built for another stack, move_to() when
/// they are built again for this one. The frames stay valid without bytes.
class ProvedStack {
  public:
    /// Whether there was a proof.
    bool exists() const { return exists_; }
    /// Outermost first.
    std::span<const RawFrame> frames() const { return frames_; }
    /// How many of the outermost frames are as they were at the last call, instruction included.
    std::size_t consume_unchanged() {
        return std::min(frames_.size(), std::exchange(unchanged_, kAll));
    }
    bool is_truncated() const { return is_truncated_; }
    RemoteAddr running_task() const { return running_task_; }

    bool has_bytes() const { return has_bytes_; }
    /// The bytes of all ranges, see StackRanges::offset; null if there are none.
    const std::byte* bytes() const { return has_bytes_ ? bytes_.data() : nullptr; }
    /// Where the extents of frames() are. Valid if `has_bytes`.
    std::span<const StackRanges::Place> places() const { return places_; }
    /// Whether the frames are read from the outermost in, and then back. False without bytes.
    bool is_in_order(const StackRanges& ranges) const;

    /// Adds what is_unchanged() needs to a batch: the bytes that the stack lies in, and the thread
    /// state, in reverse order. Returns the index of the first piece.
    std::size_t add_look(const StackRanges& ranges, memory::ReadBatch& batch) const;
    /// Whether these show the same stack, when they were read: every byte of it, the innermost
    /// frame's instruction included. Whatever a running thread does between two readings, what is
    /// confirmed was a stack once. False without bytes.
    bool is_unchanged(const FrameFormat& format, const StackRanges& ranges,
                      const memory::ReadBatch& batch, std::size_t first) const;

    /// Makes room for the bytes of ranges; there are none then.
    void reset(const StackRanges& ranges);
    void forget_bytes() { has_bytes_ = false; }
    /// The C frame is another one, so other bytes will be needed.
    void cframe_changed() { places_changed_ = true; }
    /// A proof found this stack in copies of these ranges. `cframe`: see StackRanges::Stack.
    void accept(const FrameFormat& format, const StackRanges& ranges, RemoteRange cframe,
                const FoundStack& found, const ProofCopies& copies);
    /// Moves the bytes to other ranges for the same stack; there are none then if they do not fit.
    void move_to(const FrameFormat& format, const StackRanges& old, const StackRanges& ranges,
                 RemoteRange cframe);

  private:
    static constexpr std::size_t kAll = ~std::size_t{0};

    void accept_frames(const FoundStack& found);
    /// Sets what lasts of each frame from `from` on, and what is needed of each range.
    void set_extents(const FrameFormat& format, const StackRanges& ranges, RemoteRange cframe,
                     std::size_t from);

    std::vector<RawFrame> frames_;
    std::vector<StackRanges::Place> places_;
    std::vector<std::byte> bytes_;
    /// How many bytes from the beginning of each range the stack lies in. 0 without bytes.
    std::vector<std::uint32_t> needed_;
    std::size_t unchanged_ = 0;
    RemoteAddr running_task_;
    bool exists_ = false;
    bool is_truncated_ = false;
    bool has_bytes_ = false;
    bool places_changed_ = false;  ///< Since needed_ was set.
    std::vector<std::byte> old_bytes_;
};

}  // namespace pystack::cpython
