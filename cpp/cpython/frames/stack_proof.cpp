#include "cpython/frames/stack_proof.h"

#include <algorithm>
#include <utility>

#include "cpython/frames/stack_outcome.h"

namespace pystack::cpython {

namespace {

using model::StackEnd;
using Place = StackRanges::Place;

/// How often a walk asks whether the rest of the stack is known: asking for each frame would take
/// too long.
constexpr int kMaxKnownChecks = 16;

/// The first copies, for FrameChainWalker. Knows the frames of the last proof.
class FirstCopies {
  public:
    FirstCopies(const FrameFormat& format, const StackProof::Evidence& evidence)
        : format_(format),
          ranges_(evidence.ranges),
          last_(evidence.last),
          copies_(evidence.copies) {}

    const std::byte* view(RemoteRange wanted) {
        const auto place = ranges_.find(wanted, hint_);
        if (!place || copies_.size(place->range) < place->offset + wanted.size()) {
            missing_ = wanted;
            return nullptr;
        }
        place_ = *place;
        place_.fixed_end = place_.offset + static_cast<std::uint32_t>(wanted.size());
        return copies_.first(place_.range) + place_.offset;
    }

    bool is_torn() const { return !copies_.agree(place_.range, place_.offset, place_.fixed_end); }

    std::optional<StackEnd> known_end(RemoteAddr frame, std::size_t room) {
        if (checks_ >= kMaxKnownChecks) return std::nullopt;
        const auto known = find_known(frame);
        if (!known) return std::nullopt;
        ++checks_;
        if (*known >= room || !rest_holds(*known)) return std::nullopt;
        known_ = *known + 1;
        return last_.is_truncated() ? StackEnd::kDepthLimit : StackEnd::kComplete;
    }

    /// What view() returned last.
    const Place& place() const { return place_; }
    /// What view() did not find.
    std::optional<RemoteRange> missing() const { return missing_; }
    /// How many of the last proof's frames known_end() has answered for.
    std::size_t known() const { return known_; }

  private:
    /// Which frame of the last proof the walk is at, if its header is as it was then.
    std::optional<std::size_t> find_known(RemoteAddr frame) const {
        if (!last_.has_bytes() ||
            !copies_.is_unchanged(place_.range, place_.offset, place_.fixed_end)) {
            return std::nullopt;
        }
        const auto frames = last_.frames();
        for (std::size_t i = frames.size(); i-- > 0;) {
            if (frames[i].address == frame) return i;
        }
        return std::nullopt;
    }

    /// Whether that frame and all its callers are as they were at the last proof, in both copies.
    bool rest_holds(std::size_t innermost) const {
        const auto places = last_.places();
        for (std::size_t i = innermost + 1; i-- > 0;) {
            const Place& place = places[i];
            const auto size = static_cast<std::uint32_t>(format_.extent_size(last_.frames()[i]));
            const std::uint32_t end = i == innermost ? place.offset + size : place.fixed_end;
            if (!copies_.is_unchanged(place.range, place.offset, place.offset + size) ||
                !copies_.agree(place.range, place.offset, end)) {
                return false;
            }
        }
        return true;
    }

    const FrameFormat& format_;
    const StackRanges& ranges_;
    const ProvedStack& last_;
    const ProofCopies& copies_;
    std::size_t hint_ = 0;
    Place place_;
    std::optional<RemoteRange> missing_;
    int checks_ = 0;
    std::size_t known_ = 0;
};

static_assert(FrameSource<FirstCopies> && KnowsCallers<FirstCopies>);

}  // namespace

StackProof::Verdict StackProof::judge(const Evidence& evidence, bool is_one_read,
                                      std::size_t most_frames) {
    Verdict verdict;
    const auto& [ranges, last, copies] = evidence;
    const std::size_t thread = ranges.thread_range();
    if (copies.size(thread) < format_.thread().size()) {
        verdict.end = StackEnd::kUnreadable;
        verdict.problem = read_fault(ranges.thread_state(), format_.thread().size());
        return verdict;
    }
    if (!is_one_read || !format_.same_thread(copies.first(thread), copies.second(thread)))
        return verdict;
    const StackEnd end = walk(evidence, most_frames, verdict);
    if (end == StackEnd::kUnreadable || !callers_are_at_call(evidence) || !frames_agree(evidence))
        return verdict;
    verdict.end = end;
    verdict.stayed = stayed(evidence);
    verdict.found = {.fresh = fresh_,
                     .places = places_,
                     .known = known_,
                     .is_truncated = end == StackEnd::kDepthLimit,
                     .running_task = format_.running_task(copies.first(thread))};
    return verdict;
}

/// Sets fresh_, places_ and known_.
StackEnd StackProof::walk(const Evidence& evidence, std::size_t most_frames, Verdict& verdict) {
    fresh_.clear();
    places_.clear();
    const FrameChainWalker walker(format_);
    verdict.start = walker.start(evidence.ranges.thread_state(),
                                 evidence.copies.first(evidence.ranges.thread_range()));
    FirstCopies source(format_, evidence);
    StackOutcome walked =
        walker.walk(*verdict.start, source, most_frames, [&](const RawFrame& frame) {
            fresh_.push_back(frame);
            places_.push_back(source.place());
        });
    known_ = source.known();
    verdict.missing = source.missing();
    verdict.problem = std::move(walked.problem);
    return walked.end;
}

bool StackProof::callers_are_at_call(const Evidence& evidence) const {
    const auto can_call = [this](const RawFrame& caller, const RawFrame& callee) {
        // A frame called through C runs in a new activation, and its caller's loop has not saved
        // anything. generator.throw() is such a call, too, and makes no activation
        // [Objects/genobject.c: _gen_throw].
        const bool called_directly =
            !callee.shim && !callee.is_entry && !callee.compiled && !format_.is_generator(callee);
        return !called_directly || caller.shim || caller.compiled || caller.calls;
    };
    for (std::size_t i = 1; i < fresh_.size(); ++i) {
        if (!can_call(fresh_[i], fresh_[i - 1])) return false;
    }
    return fresh_.empty() || known_ == 0 ||
           can_call(evidence.last.frames()[known_ - 1], fresh_.back());
}

bool StackProof::frames_agree(const Evidence& evidence) const {
    if (fresh_.empty()) return true;
    // The innermost frame runs: its instruction and its values change, its identity does not.
    const Place& innermost = places_.front();
    const std::uint64_t header = innermost.offset + format_.lead(fresh_.front());
    const std::byte* const first = evidence.copies.first(innermost.range) + header;
    const std::byte* const second = evidence.copies.second(innermost.range) + header;
    if (!format_.same_identity(first, second)) return false;
    std::size_t hint = innermost.range;
    for (std::size_t i = 1; i < fresh_.size(); ++i) {
        if (!caller_agrees(evidence, fresh_[i], places_[i], fresh_[i - 1], hint)) return false;
    }
    return known_ == 0 || caller_agrees(evidence, evidence.last.frames()[known_ - 1],
                                        evidence.last.places()[known_ - 1], fresh_.back(), hint);
}

bool StackProof::caller_agrees(const Evidence& evidence, const RawFrame& caller, const Place& place,
                               const RawFrame& callee, std::size_t& hint) const {
    const std::uint64_t end = place.offset + format_.extent_size(caller);
    if (!evidence.copies.agree(place.range, place.offset, end)) return false;
    const RemoteAddr values = format_.header_at(caller.address).end;
    const bool near = callee.address > values && callee.address - values < StackRanges::kMaxGap;
    return !near || !format_.on_data_stack(caller) || !format_.on_data_stack(callee) ||
           bytes_agree(evidence, values, callee.address, hint);
}

bool StackProof::bytes_agree(const Evidence& evidence, RemoteAddr begin, RemoteAddr end,
                             std::size_t& hint) const {
    while (begin < end) {
        const auto place = evidence.ranges.find({begin, begin + 1}, hint);
        if (!place) return true;
        const auto last = std::min<std::uint64_t>(evidence.copies.size(place->range),
                                                  place->offset + (end - begin));
        if (last <= place->offset) return true;
        if (!evidence.copies.agree(place->range, place->offset, last)) return false;
        begin = begin + (last - place->offset);
    }
    return true;
}

/// A frame that is being left looks as before for a moment; one that was left does not.
bool StackProof::stayed(const Evidence& evidence) const {
    const auto& [ranges, last, copies] = evidence;
    if (fresh_.empty() && known_ == last.frames().size()) return true;
    const std::size_t thread = ranges.thread_range();
    if (!format_.same_chain(copies.first(thread), copies.second(thread))) return false;
    if (fresh_.empty() && known_ == 0) return true;
    const RawFrame& frame = fresh_.empty() ? last.frames()[known_ - 1] : fresh_.front();
    const Place& place = fresh_.empty() ? last.places()[known_ - 1] : places_.front();
    return !format_.looks_returned(frame,
                                   copies.second(place.range) + place.offset + format_.lead(frame));
}

}  // namespace pystack::cpython
