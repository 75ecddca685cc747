#include "merge/stack_merge.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace pystack::merge {

namespace {

using Place = std::optional<std::size_t>;  ///< The native frame that runs a segment.

/// Finds the native frame whose stack holds an address.
class StackIndex {
  public:
    explicit StackIndex(std::span<const NativeActivation> natives) : natives_(natives) {
        for (std::size_t i = 0; i < natives.size(); ++i) by_sp_.emplace_back(natives[i].sp, i);
        // Stacks that change to another one (signal handlers) are not sorted.
        std::stable_sort(by_sp_.begin(), by_sp_.end(),
                         [](const auto& a, const auto& b) { return a.first < b.first; });
    }

    Place find(RemoteAddr address) const {
        const auto after = std::upper_bound(
            by_sp_.begin(), by_sp_.end(), address,
            [](RemoteAddr wanted, const auto& entry) { return wanted < entry.first; });
        if (after == by_sp_.begin()) return std::nullopt;
        const std::size_t i = std::prev(after)->second;
        // Of the outermost frame, and of the last one on a stack of its own, nobody knows where it
        // ends.
        const bool ends = i + 1 < natives_.size() && address < natives_[i + 1].sp;
        return ends ? Place(i) : std::nullopt;
    }

  private:
    std::span<const NativeActivation> natives_;
    std::vector<std::pair<RemoteAddr, std::size_t>> by_sp_;
};

std::vector<Place> places_by_anchor(std::span<const NativeActivation> natives,
                                    std::span<const PythonSegment> segments) {
    const StackIndex index(natives);
    std::vector<Place> places(segments.size());
    std::size_t first = 0;
    for (std::size_t i = 0; i < segments.size(); ++i) {
        if (!segments[i].anchor) continue;
        const Place place = index.find(*segments[i].anchor);
        // Callers lie further out than what they called: all else is garbage.
        if (!place || *place < first) continue;
        places[i] = place;
        first = *place;
    }
    return places;
}

std::vector<Place> places_by_order(std::span<const NativeActivation> natives, bool complete,
                                   std::span<const PythonSegment> segments) {
    std::vector<std::size_t> loops;
    for (std::size_t i = 0; i < natives.size(); ++i) {
        if (natives[i].is_loop) loops.push_back(i);
    }
    std::vector<Place> places(segments.size());
    const std::size_t count = std::min(loops.size(), segments.size());
    for (std::size_t i = 0; i < count; ++i) {
        // A loop that has just begun, or is about to return, has no frame, and is the innermost.
        if (complete) {
            places[segments.size() - 1 - i] = loops[loops.size() - 1 - i];
        } else {
            places[i] = loops[i];
        }
    }
    return places;
}

}  // namespace

MergedStack merge_stacks(std::span<const NativeActivation> natives, bool complete,
                         std::span<const PythonSegment> segments) {
    using Kind = MergedFrame::Kind;
    const bool anchored =
        std::any_of(segments.begin(), segments.end(),
                    [](const PythonSegment& one) { return one.anchor.has_value(); });
    const std::vector<Place> places = anchored ? places_by_anchor(natives, segments)
                                               : places_by_order(natives, complete, segments);
    MergedStack merged;
    const auto add_segment = [&](const PythonSegment& segment) {
        for (std::size_t i = segment.begin; i < segment.end; ++i) {
            merged.frames.push_back({.kind = Kind::kPython, .index = i, .thread = segment.thread});
        }
    };
    std::size_t done = 0;  // Native frames.
    const auto add_gap = [&] {
        const bool is_there = !merged.frames.empty() && merged.frames.back().kind == Kind::kGap;
        if (!is_there) merged.frames.push_back({.kind = Kind::kGap, .index = done});
    };
    std::vector<std::size_t> behind(natives.size());  // The last segment that each runs, plus 1.
    for (std::size_t i = 0; i < segments.size(); ++i) {
        if (places[i]) behind[*places[i]] = i + 1;
    }
    std::size_t next = 0;  // The first segment that is not yet in the list.
    const auto add_segments = [&](std::size_t end) {
        bool is_told = !merged.frames.empty() && merged.frames.back().kind == Kind::kGap;
        for (; next < end; ++next) {
            add_segment(segments[next]);
            if (places[next]) {
                is_told = false;
                continue;
            }
            ++merged.unplaced;
            // Once for several in a row: a gap between any two of them tells no more. And behind
            // them: it is their callers that are missing.
            const bool is_last = next + 1 == end || places[next + 1];
            if (is_last && !is_told) add_gap();
        }
    };
    for (; done < natives.size(); ++done) {
        const bool runs_python = behind[done] > 0;
        add_segments(behind[done]);
        merged.frames.push_back({.kind = runs_python ? Kind::kLoop : Kind::kNative, .index = done});
    }
    if (!complete) add_gap();
    add_segments(segments.size());
    return merged;
}

}  // namespace pystack::merge
