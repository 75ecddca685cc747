#include "cpython/stack_reader.h"

#include <algorithm>
#include <cstring>

#include "cpython/cycle_check.h"

namespace pystack::cpython {

namespace {

using model::StackEnd;

/// Values of a caller are compared up to the frame it called, if that is not farther.
constexpr std::uint64_t kMaxGap = 2048;
/// After so many frames that were not in the plan, one after the other, the whole stack is looked
/// for.
constexpr std::uint32_t kMissesBeforeSearch = 3;
constexpr auto kLongestPause = std::chrono::nanoseconds(600);
/// A proof continues the one before only when it was read so soon after it, and when this saves
/// copying much.
constexpr auto kContinuesWithin = std::chrono::microseconds(50);
constexpr std::uint64_t kMuchCold = 16 * 1024;
/// Frames at which a walk asks whether the rest is known: more are too many to ask for.
constexpr int kMaxKnownChecks = 16;

std::uint32_t common_prefix(const std::byte* one, const std::byte* other, std::uint32_t size) {
    if (std::memcmp(one, other, size) == 0) return size;
    std::uint32_t equal = 0;
    std::uint64_t a;
    std::uint64_t b;
    for (; equal + sizeof(a) <= size; equal += sizeof(a)) {
        std::memcpy(&a, one + equal, sizeof(a));
        std::memcpy(&b, other + equal, sizeof(b));
        if (a != b) break;
    }
    while (equal < size && one[equal] == other[equal]) ++equal;
    return equal;
}

}  // namespace

StackReader::StackReader(const memory::MemoryReader& memory, const Layout& layout,
                         std::size_t max_depth)
    : format_(layout), max_depth_(max_depth), paced_(memory), pages_(memory) {}

StackOutcome StackReader::read_moving(RemoteAddr thread_state, ReadPlan& plan, int attempts,
                                      std::vector<RawFrame>& frames) {
    StackOutcome outcome = prove(thread_state, plan, attempts, true);
    frames.clear();
    if (outcome.end != StackEnd::kTorn && outcome.end != StackEnd::kUnreadable) {
        frames.assign(plan.frames_.rbegin(), plan.frames_.rend());
    }
    return outcome;
}

StackOutcome StackReader::prove(RemoteAddr thread_state, ReadPlan& plan, int attempts,
                                bool certain) {
    StackOutcome outcome{.end = StackEnd::kTorn, .problem = {}, .attempts = 0};
    for (int attempt = 1; attempt <= attempts; ++attempt) {
        // A program that repeats itself as fast as this loop would be met at the same bad moment
        // each time.
        if (attempt > 1) wait_up_to(kLongestPause);
        if (!has_plan(thread_state, plan)) {
            read_still(thread_state, fresh_);  // Torn, most likely: only says where to look.
            plan.limit_ = found_limit_;
            plan.cframe_ = found_cframe_;
            plan.build(format_, thread_state, fresh_);
        }
        batch_.clear();
        const std::size_t first = add_proof(plan, batch_, !certain);
        outcome = judge_proof(plan, batch_, first, read(batch_), certain);
        outcome.attempts = attempt;
        if (outcome.end != StackEnd::kTorn) break;
    }
    return outcome;
}

void StackReader::wait_up_to(std::chrono::nanoseconds longest) {
    const auto wait =
        std::chrono::nanoseconds(random_() % static_cast<std::uint64_t>(longest.count()));
    const auto until = std::chrono::steady_clock::now() + wait;
    while (std::chrono::steady_clock::now() < until) continue;
}

std::size_t StackReader::add_look(const ReadPlan& plan, memory::ReadBatch& batch) const {
    const std::size_t first = batch.size();
    for (std::size_t i = plan.ranges_.size(); i-- > 0;) {
        RemoteRange range = plan.ranges_[i];
        // Pieces of no bytes cost nothing, and the number of a range's piece is that of a proof.
        if (i != plan.thread_range_) range.end = range.begin + plan.needed_[i];
        batch.add(range);
    }
    return first;
}

std::size_t StackReader::add_proof(ReadPlan& plan, memory::ReadBatch& batch,
                                   bool may_continue) const {
    plan.continues_ = may_continue && plan.may_continue_ && plan.has_bytes_ &&
                      std::chrono::steady_clock::now() - plan.proved_at_ < kContinuesWithin;
    const std::size_t first = batch.size();
    for (std::size_t i = plan.ranges_.size(); i-- > 0;) {
        RemoteRange range = plan.ranges_[i];
        // Pieces of no bytes cost nothing.
        if (plan.continues_ && plan.is_cold(i)) range.end = range.begin;
        batch.add(range);
    }
    for (std::size_t i = 1; i < plan.ranges_.size(); ++i) batch.add(plan.ranges_[i]);
    return first;
}

void StackReader::take_pieces(const ReadPlan& plan, const memory::ReadBatch& batch,
                              std::size_t first) {
    const std::size_t count = plan.ranges_.size();
    pieces_.resize(count);
    for (std::size_t i = 0; i < count; ++i) {
        const std::size_t one = first + count - 1 - i;
        const std::size_t other = first + count - 1 + i;
        Piece& piece = pieces_[i];
        const std::byte* const accepted = plan.accepted_.data() + plan.offsets_[i];
        const bool continues = plan.continues_ && plan.is_cold(i);
        piece.first = continues ? accepted : batch.data(one);
        piece.second = batch.data(other);
        piece.size = static_cast<std::uint32_t>(
            continues ? batch.done(other) : std::min(batch.done(one), batch.done(other)));
        piece.agree = i == 0 ? piece.size : common_prefix(piece.first, piece.second, piece.size);
        if (continues) {
            piece.known = piece.size;
        } else {
            piece.known = plan.has_bytes_ ? common_prefix(piece.first, accepted, piece.size) : 0;
        }
    }
    last_range_ = 0;
}

StackOutcome StackReader::judge_proof(ReadPlan& plan, const memory::ReadBatch& batch,
                                      std::size_t first, Pace pace, bool certain) {
    StackOutcome outcome{.end = StackEnd::kTorn, .problem = {}};
    const bool is_too_late =
        plan.continues_ && paced_.last_begin() - plan.proved_at_ > kContinuesWithin;
    plan.may_continue_ = false;
    if (is_too_late) return outcome;
    take_pieces(plan, batch, first);
    const Piece& thread = pieces_[plan.thread_range_];
    if (thread.size < format_.thread().size()) {
        return StackOutcome::unreadable(read_fault(plan.thread_state_, format_.thread().size()));
    }
    if (pace == Pace::kSlow || !format_.same_thread(thread.first, thread.second)) return outcome;
    StackOutcome walked = walk(plan);
    if (walked.end == StackEnd::kUnreadable) {
        // A frame elsewhere needs a new plan; a mere disagreement is tried again as it is.
        if (walked.problem->code == ErrorCode::kReadFault) {
            if (!plan.has_bytes_ || ++plan.misses_ % kMissesBeforeSearch == 0) {
                plan.ranges_.clear();
                plan.has_bytes_ = false;
            } else {
                plan.rebuild(format_);
            }
        }
        outcome.problem = std::move(walked.problem);
        return outcome;
    }
    if (!callers_call(plan) || !frames_agree(plan)) return outcome;
    // A frame that is left stays as it is for a moment, one that was left does not: the next
    // attempt tells.
    const bool is_same = fresh_.empty() && tail_ == plan.frames_.size();
    const bool stayed =
        is_same || (format_.same_chain(thread.first, thread.second) && !innermost_looks_left(plan));
    plan.running_task_ = format_.running_task(thread.first);
    accept(plan);
    if (!certain || (stayed && pace == Pace::kSwift && plan.is_in_order())) {
        outcome.end = walked.end;
    } else if (stayed && !plan.is_in_order()) {
        plan.rebuild(format_);
    }
    return outcome;
}

Result<RemoteAddr> StackReader::first_frame(ReadPlan& plan) {
    const std::byte* thread = pieces_[plan.thread_range_].first;
    plan.limit_ = format_.data_stack_limit(thread);
    const RemoteAddr top = format_.top(thread);
    if (!format_.top_is_cframe() || !top) return top;
    const RemoteRange pointer = format_.current_frame_of(top);
    if (plan.cframe_ != pointer) plan.places_moved_ = true;
    plan.cframe_ = pointer;
    const auto place = plan.find(plan.cframe_, last_range_);
    if (!place || pieces_[place->range].size < place->offset + 8) {
        plan.keep_recent(plan.cframe_, true);
        return fail(read_fault(plan.cframe_.begin, 8));
    }
    if (!agrees(place->range, place->offset, place->offset + 8)) {
        return fail(corrupt("C frame", plan.cframe_.begin));
    }
    RemoteAddr frame;
    std::memcpy(&frame.value, pieces_[place->range].first + place->offset, sizeof(frame.value));
    if (!frame && !format_.may_be_empty(plan.thread_state_, top))
        return fail(corrupt("C frame", top));
    return frame;
}

/// Leaves the frames that are not as they were in fresh_, and the number of those that are in
/// tail_.
StackOutcome StackReader::walk(ReadPlan& plan) {
    fresh_.clear();
    fresh_places_.clear();
    tail_ = 0;
    const auto first = first_frame(plan);
    if (!first) return StackOutcome::unreadable(first.error());
    RemoteAddr next = *first;
    CycleCheck cycle;
    int known_checks = 0;
    while (next) {
        if (fresh_.size() >= max_depth_) return {.end = StackEnd::kDepthLimit, .problem = {}};
        if (next.value % alignof(void*) != 0 || cycle.seen(next)) {
            return StackOutcome::unreadable(corrupt("chain of frames", next));
        }
        const RemoteRange header = format_.header_at(next);
        auto place = plan.find(header, last_range_);
        if (!place || pieces_[place->range].size < place->offset + header.size()) {
            plan.keep_recent(header, true);
            return StackOutcome::unreadable(read_fault(header.begin, header.size()));
        }
        place->still_end = place->offset + static_cast<std::uint32_t>(header.size());
        if (known_checks < kMaxKnownChecks) {
            if (const auto known = known_frame(plan, next, *place)) {
                ++known_checks;
                if (fresh_.size() + *known < max_depth_ && tail_holds(plan, *known)) {
                    tail_ = *known + 1;
                    break;
                }
            }
        }
        RawFrame frame;
        RemoteAddr previous;
        if (const char* wrong =
                format_.parse(next, pieces_[place->range].first + place->offset, frame, previous)) {
            return StackOutcome::unreadable(corrupt(wrong, next));
        }
        fresh_.push_back(frame);
        fresh_places_.push_back(*place);
        next = previous;
    }
    if (tail_ == 0 && !fresh_.empty() && !format_.is_outermost(fresh_.back())) {
        return StackOutcome::unreadable(cut_chain(fresh_.back()));
    }
    return {.end = fresh_.empty() && tail_ == 0 ? StackEnd::kNoPython : StackEnd::kComplete,
            .problem = {}};
}

bool StackReader::is_known(const ReadPlan& plan, const Place& place) const {
    const Piece& piece = pieces_[place.range];
    const auto size = static_cast<std::uint32_t>(format_.header().size());
    if (place.offset + size <= piece.known) return true;
    return place.offset + size <= piece.size &&
           std::memcmp(piece.first + place.offset,
                       plan.accepted_.data() + plan.offsets_[place.range] + place.offset,
                       size) == 0;
}

bool StackReader::agrees(std::uint32_t range, std::uint32_t begin, std::uint32_t end) const {
    const Piece& piece = pieces_[range];
    if (end <= piece.agree) return true;
    return end <= piece.size &&
           std::memcmp(piece.first + begin, piece.second + begin, end - begin) == 0;
}

std::optional<std::size_t> StackReader::known_frame(const ReadPlan& plan, RemoteAddr address,
                                                    const Place& place) const {
    if (!plan.has_bytes_ || !is_known(plan, place)) return std::nullopt;
    for (std::size_t i = plan.frames_.size(); i-- > 0;) {
        if (plan.frames_[i].address == address) return i;
    }
    return std::nullopt;
}

bool StackReader::tail_holds(const ReadPlan& plan, std::size_t innermost) const {
    const auto size = static_cast<std::uint32_t>(format_.header().size());
    for (std::size_t i = innermost + 1; i-- > 0;) {
        const Place& place = plan.places_[i];
        const std::uint32_t end = i == innermost ? place.offset + size : place.still_end;
        if (!is_known(plan, place) || !agrees(place.range, place.offset, end)) return false;
    }
    return true;
}

bool StackReader::callers_call(const ReadPlan& plan) const {
    const auto can_call = [this](const RawFrame& caller, const RawFrame& callee) {
        // A frame called through C runs in a new activation, and its caller's loop has not saved
        // anything. generator.throw() is such a call, too, and makes no activation
        // [Objects/genobject.c: _gen_throw].
        const bool called_directly =
            !callee.shim && !callee.is_entry && !format_.is_generator(callee);
        return !called_directly || caller.shim || caller.calls;
    };
    for (std::size_t i = 1; i < fresh_.size(); ++i) {
        if (!can_call(fresh_[i], fresh_[i - 1])) return false;
    }
    return fresh_.empty() || tail_ == 0 || can_call(plan.frames_[tail_ - 1], fresh_.back());
}

bool StackReader::stands_still(const ReadPlan& plan, RemoteAddr begin, RemoteAddr end) {
    while (begin < end) {
        const auto place = plan.find({begin, begin + 1}, last_range_);
        if (!place) return true;
        const auto last = static_cast<std::uint32_t>(
            std::min<std::uint64_t>(pieces_[place->range].size, place->offset + (end - begin)));
        if (last <= place->offset) return true;
        if (!agrees(place->range, place->offset, last)) return false;
        begin = begin + (last - place->offset);
    }
    return true;
}

bool StackReader::frames_agree(const ReadPlan& plan) {
    if (fresh_.empty()) return true;
    // The innermost frame runs: its instruction and its values change, its identity does not.
    const Piece& piece = pieces_[fresh_places_.front().range];
    const std::uint32_t offset = fresh_places_.front().offset;
    if (!format_.same_identity(piece.first + offset, piece.second + offset)) return false;
    // A caller stands still: its header, and its variables and values where they were read, up to
    // the frame it called.
    last_range_ = fresh_places_.front().range;
    const auto caller_stands = [&](const RawFrame& caller, const Place& place,
                                   const RawFrame& callee) {
        if (!agrees(place.range, place.offset, place.offset + format_.header().size()))
            return false;
        const RemoteAddr values = format_.header_at(caller.address).end;
        const bool near = callee.address > values && callee.address - values < kMaxGap;
        return !near || !format_.on_data_stack(caller) || !format_.on_data_stack(callee) ||
               stands_still(plan, values, callee.address);
    };
    for (std::size_t i = 1; i < fresh_.size(); ++i) {
        if (!caller_stands(fresh_[i], fresh_places_[i], fresh_[i - 1])) return false;
    }
    return tail_ == 0 ||
           caller_stands(plan.frames_[tail_ - 1], plan.places_[tail_ - 1], fresh_.back());
}

bool StackReader::innermost_looks_left(const ReadPlan& plan) const {
    if (fresh_.empty() && tail_ == 0) return false;
    const RawFrame& frame = fresh_.empty() ? plan.frames_[tail_ - 1] : fresh_.front();
    const Place& place = fresh_.empty() ? plan.places_[tail_ - 1] : fresh_places_.front();
    return format_.looks_left(frame, pieces_[place.range].second + place.offset);
}

void StackReader::accept(ReadPlan& plan) {
    const std::size_t old_size = plan.proved_ ? plan.frames_.size() : 0;
    const std::size_t size = tail_ + fresh_.size();
    bool places_moved = plan.places_moved_ || !plan.has_bytes_ || size != old_size;
    plan.frames_.resize(size);
    plan.places_.resize(size);
    std::size_t unchanged = tail_;
    for (std::size_t i = tail_; i < size; ++i) {
        const RawFrame& frame = fresh_[size - 1 - i];
        const Place& place = fresh_places_[size - 1 - i];
        if (i < old_size && unchanged == i && plan.frames_[i] == frame) ++unchanged;
        if (i >= old_size || plan.places_[i].range != place.range ||
            plan.places_[i].offset != place.offset) {
            places_moved = true;
            plan.places_[i] = place;
        }
        plan.frames_[i] = frame;
        if (place.range >= plan.first_recent_)
            plan.keep_recent(format_.header_at(frame.address), false);
    }
    for (std::size_t i = 0; i < pieces_.size(); ++i) {
        const Piece& piece = pieces_[i];
        const std::uint32_t begin = plan.has_bytes_ ? piece.known : 0;
        std::memcpy(plan.accepted_.data() + plan.offsets_[i] + begin, piece.first + begin,
                    piece.size - begin);
    }
    plan.may_continue_ = can_continue(plan);
    plan.proved_at_ = paced_.last_end();
    plan.unchanged_ = std::min(plan.unchanged_, unchanged);
    plan.proved_ = true;
    plan.has_bytes_ = true;
    plan.misses_ = 0;
    plan.places_moved_ = false;
    ++plan.proofs_since_build_;
    ++plan.proofs_;
    if (!plan.frames_.empty() && format_.on_data_stack(plan.frames_.back())) {
        plan.highest_ = std::max(plan.highest_, format_.header_at(plan.frames_.back().address).end);
    }
    if (places_moved) plan.set_extents(format_, tail_ == 0 ? 0 : tail_ - 1);
    if (plan.is_worn(format_)) plan.rebuild(format_);
}

/// Whether the second copy of the cold ranges is as good as a first one of the next proof, and
/// worth it: what was accepted is equal to it.
bool StackReader::can_continue(const ReadPlan& plan) const {
    std::uint64_t bytes = 0;
    for (std::size_t i = plan.first_cold_; i < plan.first_recent_; ++i) {
        if (pieces_[i].agree < pieces_[i].size) return false;
        bytes += pieces_[i].size;
    }
    return bytes >= kMuchCold;
}

bool StackReader::is_unchanged(const ReadPlan& plan, const memory::ReadBatch& batch,
                               std::size_t first) const {
    if (!plan.has_bytes_) return false;
    const std::size_t count = plan.ranges_.size();
    const auto piece_of = [&](std::size_t range) { return first + count - 1 - range; };
    const std::size_t thread = piece_of(plan.thread_range_);
    const std::byte* const accepted_thread =
        plan.accepted_.data() + plan.offsets_[plan.thread_range_];
    if (!batch.complete(thread) || !format_.same_place(batch.data(thread), accepted_thread) ||
        format_.running_task(batch.data(thread)) != plan.running_task_) {
        return false;
    }
    if (format_.frames_are_objects()) {
        // What lies between them is not theirs.
        const std::size_t size = format_.header().size();
        return std::all_of(plan.places_.begin(), plan.places_.end(), [&](const Place& place) {
            const std::size_t piece = piece_of(place.range);
            return batch.done(piece) >= place.offset + size &&
                   std::memcmp(batch.data(piece) + place.offset,
                               plan.accepted_.data() + plan.offsets_[place.range] + place.offset,
                               size) == 0;
        });
    }
    for (std::size_t i = 0; i < count; ++i) {
        const std::size_t piece = piece_of(i);
        if (plan.needed_[i] == 0) continue;
        if (batch.done(piece) < plan.needed_[i] ||
            std::memcmp(batch.data(piece), plan.accepted_.data() + plan.offsets_[i],
                        plan.needed_[i]) != 0) {
            return false;
        }
    }
    return true;
}

}  // namespace pystack::cpython
