#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "cpython/frames/frame_format.h"
#include "cpython/frames/recent_ranges.h"

namespace pystack::cpython {

/// Which ranges of memory to read to see the stack of one thread state again, in which order, and
/// where in them an address is. In this order:
///
/// 1. the C frame that points to the innermost frame, where there are C frames;
/// 2. the thread state;
/// 3. the near ranges, around the innermost frame;
/// 4. the far ranges: the rest of the stack, which seldom moves;
/// 5. the recent ranges: where the stack was before and may be again.
///
/// What says which frame is the innermost comes first, then what changes most. The first copy of a
/// proof is read in reverse and the second one in this order, so the thread state is read between
/// the copies of the frames: see ProofCopies.
class StackRanges {
  public:
    /// Bytes between frames that are nearer than this are read, too: bytes are cheaper than pieces.
    /// On the data stack they are the values of the lower frame.
    static constexpr std::uint64_t kMaxGap = 2048;
    /// How many of the innermost frames have ranges near the thread state, where frames are objects
    /// or live in generators.
    static constexpr std::size_t kNearFrames = 8;

    /// Where the extent of a frame is.
    struct Place {
        std::uint32_t range = 0;
        std::uint32_t offset = 0;
        /// Where in the range the bytes end that cannot change while the frame is in a call: its
        /// extent, and its values up to the frame that it called.
        std::uint32_t fixed_end = 0;
    };

    /// A stack as it was seen last, which the ranges are for.
    struct Stack {
        RemoteAddr thread_state;
        RemoteRange cframe;           ///< Empty if there are no C frames.
        RemoteAddr data_stack_limit;  ///< The end of the chunk; null if it is not known.
        RemoteAddr highest_end;       ///< Of the innermost frames seen recently.
        std::span<const RawFrame> innermost_first;
    };

    void build(const FrameFormat& format, const Stack& stack, const RecentRanges& recent);
    /// Then is_for() is false for all thread states, until the next build().
    void clear() { ranges_.clear(); }

    bool is_for(RemoteAddr thread_state) const {
        return !ranges_.empty() && thread_state_ == thread_state;
    }
    RemoteAddr thread_state() const { return thread_state_; }

    std::size_t size() const { return ranges_.size(); }
    RemoteRange operator[](std::size_t range) const { return ranges_[range]; }
    /// Which range is the thread state.
    std::size_t thread_range() const { return thread_range_; }
    bool is_far(std::size_t range) const { return range >= first_far_ && range < first_recent_; }
    bool is_recent(std::size_t range) const { return range >= first_recent_; }
    std::size_t first_far() const { return first_far_; }
    std::size_t first_recent() const { return first_recent_; }
    /// Where the innermost frame can be before other ranges are worth their cost; empty if it was
    /// not on the data stack.
    RemoteRange near() const { return near_; }
    /// Whether the ranges were built for this C frame, if for any.
    bool is_for_cframe(RemoteRange cframe) const {
        return thread_range_ == 0 || ranges_.front() == cframe;
    }

    /// The piece of a range in a batch to which the ranges were added in reverse order, from the
    /// piece `first` on.
    std::size_t reverse_piece(std::size_t first, std::size_t range) const {
        return first + ranges_.size() - 1 - range;
    }
    /// Where the bytes of a range begin in a buffer that holds all of them, and the buffer's size.
    std::uint32_t offset(std::size_t range) const { return offsets_[range]; }
    std::uint64_t total_bytes() const { return total_; }
    /// The memory that a plan for these ranges and the copies of a proof need. Approximate.
    std::uint64_t memory_bytes() const;

    /// Where `wanted` is, as a whole and not in the thread state. `hint`: the range to look in
    /// first, which is set to the one that was found; a stack is walked in order.
    std::optional<Place> find(RemoteRange wanted, std::size_t& hint) const;

  private:
    void add_frames(const FrameFormat& format, const Stack& stack);
    void add_near_range(const FrameFormat& format, const Stack& stack, RemoteRange header);
    void add_far(const FrameFormat& format, const RawFrame& frame);
    void add_far_ranges(const FrameFormat& format);
    void add_recent(const RecentRanges& recent);
    void index();

    RemoteAddr thread_state_;
    std::vector<RemoteRange> ranges_;
    std::uint32_t thread_range_ = 0;
    std::uint32_t first_far_ = 0;
    std::uint32_t first_recent_ = 0;
    std::vector<std::uint32_t> by_address_;  ///< Numbers of ranges, by their beginnings.
    std::vector<std::uint32_t> offsets_;
    std::uint64_t total_ = 0;
    RemoteRange near_;
    std::vector<RemoteRange> far_;  ///< While ranges are built.
};

}  // namespace pystack::cpython
