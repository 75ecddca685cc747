#include "cpython/frames/read_plan.h"

#include <algorithm>
#include <utility>

namespace pystack::cpython {

namespace {

using std::chrono::steady_clock;

/// How soon after the last proof a read must begin to continue it.
constexpr auto kContinuesWithin = std::chrono::microseconds(50);
/// After so many proofs, where the stack was before does not say any more where it will be.
constexpr std::uint32_t kProofsPerPlan = 4096;
/// After so many walks in a row that needed bytes that were not in the plan, the whole stack is
/// looked for.
constexpr std::uint32_t kMissesBeforeSearch = 3;

}  // namespace

void ReadPlan::build(const FrameFormat& format, const FrameChainWalker::Start& start,
                     std::vector<RawFrame>& innermost_first, bool is_truncated,
                     std::uint64_t most_bytes) {
    data_stack_limit_ = start.data_stack_limit;
    cframe_ = start.cframe;
    build_ranges(format, start.thread_state, innermost_first);
    // Frames lie so far apart only where a target has put them there.
    while (ranges_.memory_bytes() / 3 > most_bytes / 2 && !innermost_first.empty()) {
        is_truncated = true;
        innermost_first.resize(innermost_first.size() / 2);
        build_ranges(format, start.thread_state, innermost_first);
    }
    most_frames_ = is_truncated ? innermost_first.size() : SIZE_MAX;
    stack_.reset(ranges_);
}

void ReadPlan::rebuild(const FrameFormat& format) {
    if (proofs_since_build_ >= kProofsPerPlan) highest_end_ = {};
    std::swap(old_ranges_, ranges_);
    innermost_first_.assign(stack_.frames().rbegin(), stack_.frames().rend());
    build_ranges(format, old_ranges_.thread_state(), innermost_first_);
    stack_.move_to(format, old_ranges_, ranges_, cframe_);
}

void ReadPlan::build_ranges(const FrameFormat& format, RemoteAddr thread_state,
                            std::span<const RawFrame> innermost_first) {
    proofs_since_build_ = 0;
    const std::size_t near = std::min(StackRanges::kNearFrames, innermost_first.size());
    for (const RawFrame& frame : innermost_first.first(near)) {
        if (format.on_data_stack(frame)) continue;
        const RemoteRange header = format.extent(frame);
        if (proved()) {
            recent_.add_proved(header);
        } else {
            recent_.add_unproved(header);
        }
    }
    if (cframe_.size() != 0) recent_.add_proved(cframe_);
    recent_.remove_expired();
    ranges_.build(format,
                  {.thread_state = thread_state,
                   .cframe = cframe_,
                   .data_stack_limit = data_stack_limit_,
                   .highest_end = highest_end_,
                   .innermost_first = innermost_first},
                  recent_);
}

bool ReadPlan::is_stale(const FrameFormat& format) const {
    if (proofs_since_build_ >= kProofsPerPlan) return true;
    const bool checks_expiry = proofs_since_build_ % RecentRanges::kUnprovedProofs == 0;
    if (checks_expiry && recent_.has_expired()) return true;
    if (!ranges_.is_for_cframe(cframe_)) return true;
    if (frames().empty() || !format.on_data_stack(frames().back())) return false;
    const RemoteRange header = format.header_at(frames().back().address);
    return header.begin < ranges_.near().begin || header.end > ranges_.near().end;
}

bool ReadPlan::begin_proof(bool may_continue) {
    continues_ = may_continue && may_continue_ && stack_.has_bytes() &&
                 steady_clock::now() - proved_at_ < kContinuesWithin;
    return continues_;
}

bool ReadPlan::end_proof(steady_clock::time_point read_begin) {
    may_continue_ = false;
    return !continues_ || read_begin - proved_at_ <= kContinuesWithin;
}

void ReadPlan::set_start(const FrameChainWalker::Start& start) {
    data_stack_limit_ = start.data_stack_limit;
    if (start.cframe.size() == 0 || cframe_ == start.cframe) return;
    cframe_ = start.cframe;
    stack_.cframe_changed();
}

void ReadPlan::add_missing(const FrameFormat& format, RemoteRange missing) {
    recent_.add_unproved(missing);
    if (!stack_.has_bytes() || ++misses_ % kMissesBeforeSearch == 0) {
        ranges_.clear();
        stack_.forget_bytes();
    } else {
        rebuild(format);
    }
}

void ReadPlan::accept(const FrameFormat& format, const FoundStack& found, const ProofCopies& copies,
                      steady_clock::time_point read_end) {
    for (std::size_t i = found.fresh.size(); i-- > 0;) {
        if (ranges_.is_recent(found.places[i].range))
            recent_.add_proved(format.extent(found.fresh[i]));
    }
    recent_.count_proof();
    stack_.accept(format, ranges_, cframe_, found, copies);
    may_continue_ = copies.can_continue(ranges_);
    proved_at_ = read_end;
    misses_ = 0;
    ++proofs_since_build_;
    if (!frames().empty() && format.on_data_stack(frames().back())) {
        highest_end_ = std::max(highest_end_, format.header_at(frames().back().address).end);
    }
    if (is_stale(format)) rebuild(format);
}

}  // namespace pystack::cpython
