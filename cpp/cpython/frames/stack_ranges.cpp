#include "cpython/frames/stack_ranges.h"

#include <algorithm>
#include <numeric>

#include "base/pages.h"

namespace pystack::cpython {

namespace {

/// How much is read beyond the innermost frame, so that the copy has the next few calls, too.
constexpr std::uint64_t kBeyondInnermost = 256;
/// How much of the data stack below the innermost frame is near.
constexpr std::uint64_t kNearBytes = 2048;
/// How far the innermost frame may move up and down for all of that to be read each time.
constexpr std::uint64_t kMaxSwing = 64 * 1024;
/// A chunk of the data stack is 16 KiB, or as big as one frame needs.
constexpr std::uint64_t kMaxChunk = 16 << 20;
/// How many ranges may begin between the beginning of one and an address in it.
constexpr int kMostOverlaps = 4;
/// How often the bytes of a range are in memory: as they were proved, before that, and twice as
/// they are read.
constexpr std::uint64_t kCopies = 4;
/// What is known of a range and of its two pieces in a batch.
constexpr std::uint64_t kRangeBytes = 256;

}  // namespace

void StackRanges::build(const FrameFormat& format, const Stack& stack, const RecentRanges& recent) {
    thread_state_ = stack.thread_state;
    ranges_.clear();
    far_.clear();
    near_ = {};
    if (stack.cframe.size() != 0) ranges_.push_back(stack.cframe);
    thread_range_ = static_cast<std::uint32_t>(ranges_.size());
    ranges_.push_back(format.thread_at(stack.thread_state));
    add_frames(format, stack);
    first_far_ = static_cast<std::uint32_t>(ranges_.size());
    add_far_ranges(format);
    first_recent_ = static_cast<std::uint32_t>(ranges_.size());
    add_recent(recent);
    index();
}

/// Adds near ranges, and the others to far_.
void StackRanges::add_frames(const FrameFormat& format, const Stack& stack) {
    for (std::size_t i = 0; i < stack.innermost_first.size(); ++i) {
        const RawFrame& frame = stack.innermost_first[i];
        const RemoteRange header = format.extent(frame);
        if (!far_.empty()) {
            add_far(format, frame);
        } else if (!format.on_data_stack(frame)) {
            if (i < kNearFrames) {
                ranges_.push_back(header);
            } else {
                add_far(format, frame);
            }
        } else if (near_.size() == 0) {
            add_near_range(format, stack, header);
        } else if (ranges_.back() == near_ && header.begin < near_.begin &&
                   near_.begin - header.begin < kMaxGap && near_.size() < kNearBytes) {
            near_.begin = header.begin;
            ranges_.back() = near_;
        } else {
            add_far(format, frame);
        }
    }
}

void StackRanges::add_near_range(const FrameFormat& format, const Stack& stack,
                                 RemoteRange header) {
    RemoteAddr end = header.end + kBeyondInnermost;
    if (stack.highest_end > end && stack.highest_end - header.begin < kMaxSwing)
        end = stack.highest_end + format.header().size();
    // Not past what is mapped, or the piece would be cut: the chunk, or the page if the chunk is
    // not known.
    const RemoteAddr limit = stack.data_stack_limit;
    const bool in_chunk = limit >= header.end && limit - header.end < kMaxChunk;
    const RemoteAddr mapped =
        in_chunk ? limit : RemoteAddr{((header.end.value - 1) | (kPageSize - 1)) + 1};
    near_ = {header.begin, std::min(end, mapped)};
    ranges_.push_back(near_);
}

void StackRanges::add_far(const FrameFormat& format, const RawFrame& frame) {
    const RemoteRange header = format.extent(frame);
    const bool below_near =
        far_.empty() && header.begin < near_.begin && near_.begin - header.begin < kMaxGap;
    if (below_near && format.on_data_stack(frame)) {
        // Overlaps the near range, so that no later frame can lie across the border.
        far_.push_back({header.begin, near_.begin + format.header().size()});
        return;
    }
    if (!far_.empty() && format.on_data_stack(frame)) {
        RemoteRange& last = far_.back();
        if (header.begin < last.begin && last.begin - header.begin < kMaxGap) {
            last.begin = header.begin;
            return;
        }
    }
    far_.push_back(header);
}

void StackRanges::add_far_ranges(const FrameFormat& format) {
    if (!format.frames_are_objects()) {
        ranges_.insert(ranges_.end(), far_.begin(), far_.end());
        return;
    }
    // The order of frame objects in memory means nothing, so neighbours become one range.
    std::sort(far_.begin(), far_.end());
    for (const RemoteRange& range : far_) {
        RemoteRange& last = ranges_.back();
        if (&range != far_.data() && range.begin.value < last.end.value + kMaxGap) {
            last.end = std::max(last.end, range.end);
        } else {
            ranges_.push_back(range);
        }
    }
}

void StackRanges::add_recent(const RecentRanges& recent) {
    recent.for_each([this](RemoteRange wanted) {
        const auto holds = [&](const RemoteRange& range) {
            return range.begin <= wanted.begin && wanted.end <= range.end;
        };
        if (std::none_of(ranges_.begin(), ranges_.end(), holds)) ranges_.push_back(wanted);
    });
}

void StackRanges::index() {
    offsets_.clear();
    total_ = 0;
    for (const RemoteRange& range : ranges_) {
        offsets_.push_back(static_cast<std::uint32_t>(total_));
        total_ += range.size();
    }
    by_address_.resize(ranges_.size());
    std::iota(by_address_.begin(), by_address_.end(), 0u);
    std::sort(by_address_.begin(), by_address_.end(),
              [this](std::uint32_t a, std::uint32_t b) { return ranges_[a] < ranges_[b]; });
}

std::uint64_t StackRanges::memory_bytes() const {
    return kCopies * total_ + kRangeBytes * ranges_.size();
}

std::optional<StackRanges::Place> StackRanges::find(RemoteRange wanted, std::size_t& hint) const {
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
