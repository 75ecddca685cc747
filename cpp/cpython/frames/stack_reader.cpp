#include "cpython/frames/stack_reader.h"

#include <algorithm>
#include <utility>

namespace pystack::cpython {

namespace {

using model::StackEnd;

constexpr auto kLongestPause = std::chrono::nanoseconds(600);
/// However late it is.
constexpr int kLeastAttempts = 3;

}  // namespace

StackReader::StackReader(const memory::MemoryReader& memory, const Layout& layout,
                         std::size_t max_depth)
    : format_(layout), max_depth_(max_depth), timed_(memory), proof_(format_), pages_(memory) {}

StackOutcome StackReader::read_stopped(RemoteAddr thread_state, std::vector<RawFrame>& frames,
                                       std::size_t most) {
    FrameChainWalker::Start start;
    StackOutcome outcome = walk_stopped(thread_state, frames, most, start);
    outcome.c_frame = start.cframe.begin;
    return outcome;
}

StackOutcome StackReader::walk_stopped(RemoteAddr thread_state, std::vector<RawFrame>& frames,
                                       std::size_t most, FrameChainWalker::Start& start) {
    pages_.clear();
    frames.clear();
    const RemoteRange range = format_.thread_at(thread_state);
    const std::byte* const thread = pages_.view(range);
    start = {.thread_state = thread_state, .top = {}, .cframe = {}, .data_stack_limit = {}};
    if (thread == nullptr) return StackOutcome::unreadable(read_fault(range.begin, range.size()));
    const FrameChainWalker walker(format_);
    start = walker.start(thread_state, thread);
    return walker.walk(start, pages_, std::min(most, max_depth_),
                       [&](const RawFrame& frame) { frames.push_back(frame); });
}

StackOutcome StackReader::read_running(RemoteAddr thread_state, ReadPlan& plan, int attempts,
                                       std::vector<RawFrame>& frames, std::uint64_t most_bytes) {
    most_bytes_ = most_bytes;
    StackOutcome outcome = prove(thread_state, plan, attempts, true);
    most_bytes_ = kMostFrameBytes;
    outcome.c_frame = plan.c_frame();
    frames.clear();
    if (!is_lost(outcome.end)) {
        frames.assign(plan.frames().rbegin(), plan.frames().rend());
    }
    return outcome;
}

StackOutcome StackReader::prove(RemoteAddr thread_state, ReadPlan& plan, int attempts, bool certain,
                                Clock::time_point until) {
    StackOutcome outcome{.end = StackEnd::kTorn, .problem = {}, .attempts = 0};
    for (int attempt = 1; attempt <= attempts; ++attempt) {
        // A program that repeats itself as fast as this loop would be met at the same bad moment
        // each time.
        if (attempt > 1) wait_up_to(kLongestPause);
        if (attempt > kLeastAttempts && Clock::now() > until) break;
        if (!has_plan(thread_state, plan)) make_plan(thread_state, plan);
        batch_.clear();
        const std::size_t first = add_proof(plan, batch_, !certain);
        outcome = judge_proof(plan, batch_, first, read(batch_), certain);
        outcome.attempts = attempt;
        if (outcome.end != StackEnd::kTorn) break;
    }
    return outcome;
}

StackOutcome StackReader::judge_proof(ReadPlan& plan, const memory::ReadBatch& batch,
                                      std::size_t first, memory::ReadTiming timing, bool certain) {
    StackOutcome outcome{.end = StackEnd::kTorn, .problem = {}};
    if (!plan.end_proof(timed_.last_begin())) return outcome;
    copies_.use(plan.ranges(), plan.last_proof().bytes(), plan.continues(), batch, first);
    StackProof::Verdict verdict = proof_.judge({plan.ranges(), plan.last_proof(), copies_},
                                               timing != memory::ReadTiming::kInterrupted,
                                               std::min(max_depth_, plan.most_frames()));
    if (verdict.start) plan.set_start(*verdict.start);
    if (!verdict.is_proved()) {
        // A frame elsewhere needs a new plan; if the copies merely disagree, the same is tried
        // again.
        if (verdict.missing) plan.add_missing(format_, *verdict.missing);
        outcome.end = verdict.end;
        outcome.problem = std::move(verdict.problem);
        return outcome;
    }
    plan.accept(format_, verdict.found, copies_, timed_.last_end());
    const bool is_fast = timing == memory::ReadTiming::kFast;
    if (!certain || (verdict.stayed && is_fast && plan.is_in_order())) {
        outcome.end = verdict.end;
    } else if (verdict.stayed && !plan.is_in_order()) {
        plan.rebuild(format_);
    }
    return outcome;
}

void StackReader::make_plan(RemoteAddr thread_state, ReadPlan& plan) {
    // Torn, most likely: only says where to look.
    const auto most = static_cast<std::size_t>(most_bytes_ / ReadPlan::kFrameBytes);
    FrameChainWalker::Start start;
    const StackOutcome found = walk_stopped(thread_state, found_, most, start);
    plan.build(format_, start, found_, found.end == StackEnd::kDepthLimit, most_bytes_);
}

void StackReader::wait_up_to(std::chrono::nanoseconds longest) {
    const auto wait =
        std::chrono::nanoseconds(random_() % static_cast<std::uint64_t>(longest.count()));
    const auto until = std::chrono::steady_clock::now() + wait;
    while (std::chrono::steady_clock::now() < until) continue;
}

}  // namespace pystack::cpython
