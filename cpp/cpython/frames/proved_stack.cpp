#include "cpython/frames/proved_stack.h"

#include <cstring>
#include <optional>

namespace pystack::cpython {

namespace {

/// Moving the bytes of more ranges than this takes longer than proving the stack anew.
constexpr std::size_t kMostRangesMoved = 256;

}  // namespace

void ProvedStack::reset(const StackRanges& ranges) {
    has_bytes_ = false;
    needed_.assign(ranges.size(), 0);
    bytes_.resize(ranges.total_bytes());
}

void ProvedStack::accept(const FrameFormat& format, const StackRanges& ranges, RemoteRange cframe,
                         const FoundStack& found, const ProofCopies& copies) {
    accept_frames(found);
    for (std::size_t i = 0; i < copies.count(); ++i) {
        const std::uint32_t begin = has_bytes_ ? copies.unchanged(i) : 0;
        std::memcpy(bytes_.data() + ranges.offset(i) + begin, copies.first(i) + begin,
                    copies.size(i) - begin);
    }
    running_task_ = found.running_task;
    is_truncated_ = found.is_truncated;
    exists_ = true;
    has_bytes_ = true;
    if (places_changed_)
        set_extents(format, ranges, cframe, found.known == 0 ? 0 : found.known - 1);
    places_changed_ = false;
}

void ProvedStack::accept_frames(const FoundStack& found) {
    const std::size_t old_size = exists_ ? frames_.size() : 0;
    const std::size_t size = found.size();
    if (!has_bytes_ || size != old_size) places_changed_ = true;
    frames_.resize(size);
    places_.resize(size);
    std::size_t unchanged = found.known;
    for (std::size_t i = found.known; i < size; ++i) {
        const RawFrame& frame = found.fresh[size - 1 - i];
        const StackRanges::Place& place = found.places[size - 1 - i];
        if (i < old_size && unchanged == i && frames_[i] == frame) ++unchanged;
        if (i >= old_size || places_[i].range != place.range || places_[i].offset != place.offset) {
            places_changed_ = true;
            places_[i] = place;
        }
        frames_[i] = frame;
    }
    unchanged_ = std::min(unchanged_, unchanged);
}

void ProvedStack::move_to(const FrameFormat& format, const StackRanges& old,
                          const StackRanges& ranges, RemoteRange cframe) {
    const bool had_bytes = has_bytes_;
    old_bytes_.swap(bytes_);
    reset(ranges);
    if (!had_bytes || ranges.size() > kMostRangesMoved) return;

    // What was not read before differs at the next comparison.
    std::fill(bytes_.begin(), bytes_.end(), std::byte{0});
    for (std::size_t i = 0; i < ranges.size(); ++i) {
        for (std::size_t k = 0; k < old.size(); ++k) {
            const RemoteAddr begin = std::max(ranges[i].begin, old[k].begin);
            const RemoteAddr end = std::min(ranges[i].end, old[k].end);
            if (begin >= end) continue;
            std::memcpy(bytes_.data() + ranges.offset(i) + (begin - ranges[i].begin),
                        old_bytes_.data() + old.offset(k) + (begin - old[k].begin), end - begin);
        }
    }
    std::size_t hint = 1;
    for (std::size_t i = frames_.size(); i-- > 0;) {
        const auto place = ranges.find(format.extent(frames_[i]), hint);
        if (!place) return;
        // Where ranges overlap, their bytes are of different instants: those count that the frame
        // was read from.
        const StackRanges::Place& old_place = places_[i];
        const std::uint64_t room = ranges[place->range].size() - place->offset;
        std::memcpy(bytes_.data() + ranges.offset(place->range) + place->offset,
                    old_bytes_.data() + old.offset(old_place.range) + old_place.offset,
                    std::min<std::uint64_t>(old_place.fixed_end - old_place.offset, room));
        places_[i] = *place;
    }
    has_bytes_ = true;
    set_extents(format, ranges, cframe, 0);
}

void ProvedStack::set_extents(const FrameFormat& format, const StackRanges& ranges,
                              RemoteRange cframe, std::size_t from) {
    for (std::size_t i = from; i < frames_.size(); ++i) {
        StackRanges::Place& place = places_[i];
        place.fixed_end = place.offset + static_cast<std::uint32_t>(format.extent_size(frames_[i]));
        if (i + 1 == frames_.size() || places_[i + 1].range != place.range) continue;
        if (!format.on_data_stack(frames_[i]) || !format.on_data_stack(frames_[i + 1])) continue;
        const RemoteAddr callee = frames_[i + 1].address;
        const RemoteAddr begin = ranges[place.range].begin;
        const RemoteAddr end = begin + place.fixed_end;
        if (callee > end && callee - end < StackRanges::kMaxGap)
            place.fixed_end = static_cast<std::uint32_t>(callee - begin);
    }
    std::fill(needed_.begin(), needed_.end(), 0);
    for (const StackRanges::Place& place : places_)
        needed_[place.range] = std::max(needed_[place.range], place.fixed_end);
    if (cframe.size() != 0) {
        std::size_t hint = 0;
        if (const auto place = ranges.find(cframe, hint)) needed_[place->range] = place->offset + 8;
    }
}

bool ProvedStack::is_in_order(const StackRanges& ranges) const {
    if (!has_bytes_) return false;
    std::size_t inner = 0;
    for (std::size_t i = frames_.size(); i-- > 0;) {
        const std::size_t range = places_[i].range;
        if (range < inner || ranges.is_recent(range)) return false;
        inner = std::min(range, ranges.first_far());
    }
    return true;
}

std::size_t ProvedStack::add_look(const StackRanges& ranges, memory::ReadBatch& batch) const {
    const std::size_t first = batch.size();
    for (std::size_t i = ranges.size(); i-- > 0;) {
        RemoteRange range = ranges[i];
        // An empty piece costs nothing, and keeps the indices of the others.
        if (i != ranges.thread_range()) range.end = range.begin + needed_[i];
        batch.add(range);
    }
    return first;
}

bool ProvedStack::is_unchanged(const FrameFormat& format, const StackRanges& ranges,
                               const memory::ReadBatch& batch, std::size_t first) const {
    if (!has_bytes_) return false;
    const auto holds = [&](std::size_t range, std::uint32_t begin, std::uint64_t end) {
        const std::size_t piece = ranges.reverse_piece(first, range);
        return batch.done(piece) >= end &&
               std::memcmp(batch.data(piece) + begin, bytes_.data() + ranges.offset(range) + begin,
                           end - begin) == 0;
    };
    const std::size_t thread_range = ranges.thread_range();
    const std::size_t thread = ranges.reverse_piece(first, thread_range);
    if (!batch.complete(thread) ||
        !format.same_place(batch.data(thread), bytes_.data() + ranges.offset(thread_range)) ||
        format.running_task(batch.data(thread)) != running_task_) {
        return false;
    }
    if (format.frames_are_objects()) {
        // What lies between them belongs to others.
        const std::size_t size = format.header().size();
        return std::all_of(places_.begin(), places_.end(), [&](const StackRanges::Place& place) {
            return holds(place.range, place.offset, place.offset + size);
        });
    }
    for (std::size_t i = 0; i < ranges.size(); ++i) {
        if (needed_[i] != 0 && !holds(i, 0, needed_[i])) return false;
    }
    return true;
}

}  // namespace pystack::cpython
