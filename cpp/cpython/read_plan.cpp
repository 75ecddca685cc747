#include "cpython/read_plan.h"

#include <algorithm>
#include <cstring>
#include <numeric>

namespace pystack::cpython {

namespace {

constexpr std::uint64_t kPage = 4096;
/// Read beyond the innermost frame, so that a few calls more are still in the copy.
constexpr std::uint64_t kSlack = 256;
/// Frames nearer than this are read as one range: bytes are cheaper than pieces.
constexpr std::uint64_t kMaxGap = 2048;
/// What is read around the thread state, as near to it as possible: the rest of a stack seldom
/// moves.
constexpr std::uint64_t kHotBytes = 2048;
constexpr std::size_t kHotFrames = 8;  ///< The same for frames that are objects.
/// How far the innermost frame may wander for all of it to be read each time.
constexpr std::uint64_t kMaxSwing = 64 * 1024;
/// A chunk of the data stack is 16 KiB, or as big as one frame needs.
constexpr std::uint64_t kMaxChunk = 16 << 20;
constexpr std::size_t kMaxRecent = 48;
/// How many ranges may begin between the beginning of one and an address in it.
constexpr int kMostOverlaps = 4;
/// Bytes of more ranges than these are not worth moving to a new plan.
constexpr std::size_t kMostRangesKept = 256;
/// Each piece that is read for nothing makes a read longer, and a fast program harder to prove.
constexpr std::uint32_t kRecentFor = 256;  ///< Proofs.
constexpr std::uint32_t kTriedFor = 16;
constexpr std::uint32_t kProofsPerPlan = 4096;

}  // namespace

void ReadPlan::build(const FrameFormat& format, RemoteAddr thread_state,
                     std::span<const RawFrame> innermost_first) {
    proofs_since_build_ = 0;
    thread_state_ = thread_state;
    has_bytes_ = false;
    ranges_.clear();
    cold_.clear();
    hot_ = {};
    if (cframe_.size() != 0) ranges_.push_back(cframe_);
    thread_range_ = static_cast<std::uint32_t>(ranges_.size());
    ranges_.push_back(format.thread_at(thread_state));
    for (std::size_t i = 0; i < innermost_first.size(); ++i) {
        const RawFrame& frame = innermost_first[i];
        const RemoteRange wanted = format.header_at(frame.address);
        if (!cold_.empty()) {
            add_cold(format, frame);
        } else if (!format.on_data_stack(frame)) {
            if (i < kHotFrames) {
                ranges_.push_back(wanted);
            } else {
                add_cold(format, frame);
            }
        } else if (hot_.size() == 0) {
            add_hot_range(format, wanted);
        } else if (ranges_.back() == hot_ && wanted.begin < hot_.begin &&
                   hot_.begin - wanted.begin < kMaxGap && hot_.size() < kHotBytes) {
            hot_.begin = wanted.begin;
            ranges_.back() = hot_;
        } else {
            add_cold(format, frame);
        }
    }
    first_cold_ = static_cast<std::uint32_t>(ranges_.size());
    add_cold_ranges(format);
    first_recent_ = static_cast<std::uint32_t>(ranges_.size());
    add_recent(innermost_first, format);
    offsets_.clear();
    std::uint32_t total = 0;
    for (const RemoteRange& range : ranges_) {
        offsets_.push_back(total);
        total += static_cast<std::uint32_t>(range.size());
    }
    accepted_.resize(total);
    by_address_.resize(ranges_.size());
    std::iota(by_address_.begin(), by_address_.end(), 0u);
    std::sort(by_address_.begin(), by_address_.end(),
              [this](std::uint32_t a, std::uint32_t b) { return ranges_[a] < ranges_[b]; });
    needed_.assign(ranges_.size(), 0);
}

void ReadPlan::add_cold_ranges(const FrameFormat& format) {
    if (!format.frames_are_objects()) {
        ranges_.insert(ranges_.end(), cold_.begin(), cold_.end());
        return;
    }
    // In no order that means anything: neighbours in memory become one range.
    std::sort(cold_.begin(), cold_.end());
    for (const RemoteRange& range : cold_) {
        RemoteRange& last = ranges_.back();
        if (&range != cold_.data() && range.begin.value < last.end.value + kMaxGap) {
            last.end = std::max(last.end, range.end);
        } else {
            ranges_.push_back(range);
        }
    }
}

void ReadPlan::add_hot_range(const FrameFormat& format, RemoteRange wanted) {
    const std::uint64_t size = format.header().size();
    RemoteAddr end = wanted.end + kSlack;
    if (highest_ > end && highest_ - wanted.begin < kMaxSwing) end = highest_ + size;
    // Not past what is mapped, or the piece would be cut: the chunk, or the page where that is not
    // known.
    const bool in_chunk = limit_ >= wanted.end && limit_ - wanted.end < kMaxChunk;
    const RemoteAddr mapped =
        in_chunk ? limit_ : RemoteAddr{((wanted.end.value - 1) | (kPage - 1)) + 1};
    hot_ = {wanted.begin, std::min(end, mapped)};
    ranges_.push_back(hot_);
}

void ReadPlan::add_cold(const FrameFormat& format, const RawFrame& frame) {
    const RemoteRange wanted = format.header_at(frame.address);
    const bool below_hot =
        cold_.empty() && wanted.begin < hot_.begin && hot_.begin - wanted.begin < kMaxGap;
    if (below_hot && format.on_data_stack(frame)) {
        // Overlaps, so that no frame to come can lie across the border.
        cold_.push_back({wanted.begin, hot_.begin + format.header().size()});
        return;
    }
    if (!cold_.empty() && format.on_data_stack(frame)) {
        RemoteRange& last = cold_.back();
        if (wanted.begin < last.begin && last.begin - wanted.begin < kMaxGap) {
            last.begin = wanted.begin;
            return;
        }
    }
    cold_.push_back(wanted);
}

bool ReadPlan::is_planned(RemoteRange range) const {
    return std::any_of(ranges_.begin(), ranges_.end(), [&](const RemoteRange& planned) {
        return planned.begin <= range.begin && range.end <= planned.end;
    });
}

void ReadPlan::add_recent(std::span<const RawFrame> innermost_first, const FrameFormat& format) {
    for (std::size_t i = 0; i < std::min(kHotFrames, innermost_first.size()); ++i) {
        const RawFrame& frame = innermost_first[i];
        if (!format.on_data_stack(frame)) keep_recent(format.header_at(frame.address), !proved_);
    }
    if (cframe_.size() != 0) keep_recent(cframe_, false);
    std::erase_if(recent_, [this](const Recent& recent) { return is_old(recent); });
    for (const Recent& recent : recent_) {
        if (!is_planned(recent.range)) ranges_.push_back(recent.range);
    }
}

bool ReadPlan::is_old(const Recent& recent) const {
    return proofs_ > recent.wanted_until;
}

/// `tried`: it was met in a stack that was not proved, and may be no frame at all.
void ReadPlan::keep_recent(RemoteRange range, bool tried) {
    const std::uint64_t until = proofs_ + (tried ? kTriedFor : kRecentFor);
    const auto same = std::find_if(recent_.begin(), recent_.end(),
                                   [&](const Recent& recent) { return recent.range == range; });
    if (same != recent_.end()) {
        same->wanted_until = std::max(same->wanted_until, until);
    } else if (recent_.size() < kMaxRecent) {
        recent_.push_back({range, until});
    } else {
        *std::min_element(recent_.begin(), recent_.end(), [](const Recent& a, const Recent& b) {
            return a.wanted_until < b.wanted_until;
        }) = {range, until};
    }
}

void ReadPlan::rebuild(const FrameFormat& format) {
    if (proofs_since_build_ >= kProofsPerPlan) highest_ = {};
    const bool had_bytes = has_bytes_;
    old_ranges_.swap(ranges_);
    old_offsets_.swap(offsets_);
    old_bytes_.swap(accepted_);
    innermost_first_.assign(frames_.rbegin(), frames_.rend());
    build(format, thread_state_, innermost_first_);
    if (!had_bytes || ranges_.size() > kMostRangesKept) return;

    // Ranges keep their order, by and large; what was not read before differs at the next
    // comparison.
    std::fill(accepted_.begin(), accepted_.end(), std::byte{0});
    for (std::size_t i = 0; i < ranges_.size(); ++i) {
        for (std::size_t k = 0; k < old_ranges_.size(); ++k) {
            const RemoteAddr begin = std::max(ranges_[i].begin, old_ranges_[k].begin);
            const RemoteAddr end = std::min(ranges_[i].end, old_ranges_[k].end);
            if (begin >= end) continue;
            std::memcpy(accepted_.data() + offsets_[i] + (begin - ranges_[i].begin),
                        old_bytes_.data() + old_offsets_[k] + (begin - old_ranges_[k].begin),
                        end - begin);
        }
    }
    std::size_t hint = 1;
    for (std::size_t i = frames_.size(); i-- > 0;) {
        const auto place = find(format.header_at(frames_[i].address), hint);
        if (!place) return;
        // Where ranges overlap, their bytes are of different instants: those count that the frame
        // was read from.
        const Place& old = places_[i];
        const std::uint64_t room = ranges_[place->range].size() - place->offset;
        std::memcpy(accepted_.data() + offsets_[place->range] + place->offset,
                    old_bytes_.data() + old_offsets_[old.range] + old.offset,
                    std::min<std::uint64_t>(old.still_end - old.offset, room));
        places_[i] = *place;
    }
    has_bytes_ = true;
    set_extents(format, 0);
}

bool ReadPlan::is_in_order() const {
    if (!has_bytes_) return false;
    std::uint32_t inner = 0;
    for (std::size_t i = frames_.size(); i-- > 0;) {
        const std::uint32_t range = places_[i].range;
        if (range < inner || range >= first_recent_) return false;
        inner = std::min(range, first_cold_);
    }
    return true;
}

bool ReadPlan::is_worn(const FrameFormat& format) const {
    if (proofs_since_build_ >= kProofsPerPlan) return true;
    const bool looks_for_old = proofs_since_build_ % kTriedFor == 0;
    if (looks_for_old && std::any_of(recent_.begin(), recent_.end(),
                                     [this](const Recent& recent) { return is_old(recent); })) {
        return true;
    }
    if (thread_range_ == 1 && ranges_.front() != cframe_) return true;
    if (frames_.empty() || !format.on_data_stack(frames_.back())) return false;
    const RemoteRange header = format.header_at(frames_.back().address);
    return header.begin < hot_.begin || header.end > hot_.end;
}

void ReadPlan::set_extents(const FrameFormat& format, std::size_t from) {
    const auto header_size = static_cast<std::uint32_t>(format.header().size());
    for (std::size_t i = from; i < frames_.size(); ++i) {
        Place& place = places_[i];
        place.still_end = place.offset + header_size;
        if (i + 1 == frames_.size() || places_[i + 1].range != place.range) continue;
        if (!format.on_data_stack(frames_[i]) || !format.on_data_stack(frames_[i + 1])) continue;
        const RemoteAddr callee = frames_[i + 1].address;
        const RemoteAddr end = ranges_[place.range].begin + place.still_end;
        if (callee > end && callee - end < kMaxGap) {
            place.still_end = static_cast<std::uint32_t>(callee - ranges_[place.range].begin);
        }
    }
    std::fill(needed_.begin(), needed_.end(), 0);
    for (const Place& place : places_) {
        needed_[place.range] = std::max(needed_[place.range], place.still_end);
    }
    if (cframe_.size() != 0) {
        std::size_t hint = 0;
        if (const auto place = find(cframe_, hint)) needed_[place->range] = place->offset + 8;
    }
}

std::optional<ReadPlan::Place> ReadPlan::find(RemoteRange wanted, std::size_t& hint) const {
    const auto in = [&](std::size_t i) -> std::optional<Place> {
        if (i >= ranges_.size() || i == thread_range_) return std::nullopt;
        if (wanted.begin < ranges_[i].begin || wanted.end > ranges_[i].end) return std::nullopt;
        hint = i;
        return Place{.range = static_cast<std::uint32_t>(i),
                     .offset = static_cast<std::uint32_t>(wanted.begin - ranges_[i].begin)};
    };
    if (const auto place = in(hint)) return place;
    if (const auto place = in(hint + 1)) return place;
    auto above = std::upper_bound(
        by_address_.begin(), by_address_.end(), wanted.begin,
        [this](RemoteAddr address, std::uint32_t range) { return address < ranges_[range].begin; });
    for (int tries = 0; above != by_address_.begin() && tries < kMostOverlaps; ++tries) {
        if (const auto place = in(*--above)) return place;
    }
    return std::nullopt;
}

}  // namespace pystack::cpython
