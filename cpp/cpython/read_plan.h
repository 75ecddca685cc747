#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "cpython/frame_format.h"

namespace pystack::cpython {

/// What was last proved of one thread state's stack, and what to read to prove it again: frames
/// stay where they are, and those of a running program come back to where frames were. Belongs to
/// one thread state and is filled by StackReader.
class ReadPlan {
  public:
    /// The stack of the last proof, outermost first. Valid while `proved`.
    std::span<const RawFrame> frames() const { return frames_; }
    /// How many of the outermost frames are as they were when this was last asked, instruction
    /// included.
    std::size_t take_unchanged() {
        return std::min(frames_.size(), std::exchange(unchanged_, kAll));
    }
    bool proved() const { return proved_; }
    /// The asyncio task that the thread ran when its stack was proved, where that is read.
    RemoteAddr running_task() const { return running_task_; }

    /// Forgets all: for a thread state that may have become another thread's.
    void clear() { *this = {}; }

  private:
    friend class StackReader;

    static constexpr std::size_t kAll = ~std::size_t{0};

    /// Where a frame's header is in the plan.
    struct Place {
        std::uint32_t range = 0;
        std::uint32_t offset = 0;
        /// Where, in the same range, the bytes end that cannot change while the frame is in a call:
        /// those of the header, and its values up to the frame that it called.
        std::uint32_t still_end = 0;
    };
    /// A frame or C frame that the stack had lately and may have again.
    struct Recent {
        RemoteRange range;
        std::uint64_t wanted_until = 0;  ///< In proofs.
    };

    /// Ranges for these frames, and for the recent ones. Bytes and places are then of no use.
    void build(const FrameFormat& format, RemoteAddr thread_state,
               std::span<const RawFrame> innermost_first);
    /// Ranges for the frames of the last proof, whose bytes are kept.
    void rebuild(const FrameFormat& format);
    /// Whether the frames of the last proof are read from the outermost in, and then back.
    bool is_in_order() const;
    /// Whether the stack has moved so far that the plan should follow.
    bool is_worn(const FrameFormat& format) const;
    void keep_recent(RemoteRange range, bool tried);
    bool is_old(const Recent& recent) const;
    /// After frames_ and the ranges and offsets of places_ have changed from there on.
    void set_extents(const FrameFormat& format, std::size_t from);
    std::optional<Place> find(RemoteRange wanted, std::size_t& hint) const;

    void add_hot_range(const FrameFormat& format, RemoteRange wanted);
    void add_cold(const FrameFormat& format, const RawFrame& frame);
    void add_recent(std::span<const RawFrame> innermost_first, const FrameFormat& format);
    void add_cold_ranges(const FrameFormat& format);
    bool is_planned(RemoteRange range) const;
    bool is_cold(std::size_t range) const { return range >= first_cold_ && range < first_recent_; }

    RemoteAddr thread_state_;
    /// What tells the innermost frame comes first, then what changes most: the order of the first
    /// copy is the reverse of this one, and the second copy's is this one. The first is read once,
    /// between the two.
    std::vector<RemoteRange> ranges_;
    std::uint32_t thread_range_ =
        0;  ///< The thread state: the first, or after the C frame that it points to.
    // After the ranges around the innermost frame:
    std::uint32_t first_cold_ = 0;           ///< The rest of the stack.
    std::uint32_t first_recent_ = 0;         ///< Where the stack may be again.
    std::vector<std::uint32_t> by_address_;  ///< Numbers of ranges, by their beginnings.
    std::vector<std::uint32_t> offsets_;     ///< Of the ranges in accepted_.
    std::vector<std::uint32_t>
        needed_;                       ///< How much of each range, from its start, frames_ lies in.
    std::vector<std::byte> accepted_;  ///< The ranges' bytes at the last proof.
    std::vector<RawFrame> frames_;
    std::vector<Place> places_;  ///< Of frames_, in ranges_. Of use while has_bytes_.
    std::vector<Recent> recent_;
    std::size_t unchanged_ = 0;  ///< Since it was last taken.
    RemoteRange hot_;     ///< Where the innermost frame may be before a new plan is worth its cost.
    RemoteAddr highest_;  ///< The end of the highest innermost frame on the data stack, of late.
    RemoteRange cframe_;  ///< The pointer to the innermost frame, where that is in a C frame.
    RemoteAddr limit_;    ///< Of the data stack's chunk.
    RemoteAddr running_task_;
    std::uint64_t proofs_ = 0;
    std::uint32_t proofs_since_build_ = 0;
    std::uint32_t misses_ = 0;  ///< Since the last proof: frames that were not in the plan.
    bool proved_ = false;
    bool places_moved_ = false;  ///< needed_ is not that of the stack any more.
    bool has_bytes_ = false;     ///< accepted_ and places_ belong to frames_ and ranges_.
    /// The proof that was added last continues the one before: see StackReader::add_proof.
    bool continues_ = false;
    bool may_continue_ = false;
    std::chrono::steady_clock::time_point proved_at_;  ///< The end of the last proof's reading.

    std::vector<RemoteRange> cold_;
    std::vector<RemoteRange> old_ranges_;
    std::vector<std::uint32_t> old_offsets_;
    std::vector<std::byte> old_bytes_;
    std::vector<RawFrame> innermost_first_;
};

}  // namespace pystack::cpython
