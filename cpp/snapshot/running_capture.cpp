#include "snapshot/running_capture.h"

#include <algorithm>
#include <thread>
#include <utility>
#include <vector>

#include "snapshot/seen_calls.h"

namespace pystack::snapshot {

namespace {

using cpython::RawFrame;

/// A proof takes microseconds; a thread that changes its stack all the time needs a few of them.
constexpr int kProofAttempts = 200;
/// A stack that looks cut may be that of a thread which waits for a CPU at an unlucky instruction.
constexpr auto kLookAgain = std::chrono::milliseconds(5);
/// Whoever looks so for that long does begin with a generator.
constexpr auto kBelief = std::chrono::milliseconds(400);
/// How long the lists may take: a target can make them long.
constexpr auto kListsBudget = std::chrono::milliseconds(500);
/// How long one thread is tried before its stack counts as one that cannot be proved.
constexpr auto kProofBudget = std::chrono::milliseconds(1000);
/// And all of them together.
constexpr auto kAllProofsBudget = std::chrono::milliseconds(2500);
/// For GILs and names, which are read after the stacks.
constexpr auto kNamesBudget = std::chrono::milliseconds(300);
/// Walks of the thread list until two agree.
constexpr int kListAttempts = 20;
/// Proofs of a thread that moves from one interpreter into another while it is read.
constexpr int kNestedProofs = 10;

}  // namespace

Result<void> RunningCapture::read() {
    WorkLimits& limits = target_.limits();
    raw_.are_gils_of_stacks = false;
    read_lists();
    raw_.match();
    const auto all_end = Clock::now() + kAllProofsBudget;
    for (RawThread& thread : raw_.threads) {
        if (limits.cancelled()) return fail(cancelled());
        prove(thread, all_end);
        raw_.take_frames(thread);
        attempts_ += thread.outcome.attempts;
    }
    PYSTACK_CHECK(prove_nested(all_end));
    affinity_.unpin();
    limits.renew_steps();
    limits.end_at(Clock::now() + kNamesBudget);
    raw_.read_gils();
    read_names_twice();
    limits.renew_steps();
    limits.never_end();
    return {};
}

void RunningCapture::read_lists() {
    target_.limits().renew_steps();
    target_.limits().end_at(Clock::now() + kListsBudget);
    raw_.walked =
        cpython::walk_running_interpreters(target_.memory(), raw_.runtime, kListAttempts,
                                           cpython::most_thread_states(target_.thread_count()));
    if (auto infos = target_.threads()) raw_.infos = std::move(*infos);
    was_stopped_ = !raw_.infos.empty() && std::all_of(raw_.infos.begin(), raw_.infos.end(),
                                                      [](const target::ThreadInfo& info) {
                                                          return info.run_state == 'T';
                                                      });
    for (const cpython::ThreadState& state : raw_.walked.threads) {
        raw_.threads.emplace_back().state = state;
    }
}

/// What changes faster than it can be read stands still while we have its CPU. Else it would be
/// met only where it lasts.
void RunningCapture::go_where_it_runs(const RawThread& thread) {
    if (!thread.info) return;
    const target::ThreadInfo& info = raw_.infos[*thread.info];
    if (info.run_state == 'R') affinity_.pin_to(target_.pid(), info.tid);
}

void RunningCapture::prove(RawThread& thread, Clock::time_point all_end) {
    const auto begin = Clock::now();
    thread.outcome = {.end = model::StackEnd::kTorn, .problem = {}, .attempts = 0};
    if (begin >= all_end) return;
    if (raw_.most_frames() == 0) {
        target_.limits().refuse_bytes();
        thread.outcome = cpython::StackOutcome::unreadable(left_out());
        return;
    }
    const auto deadline = std::min(all_end, begin + kProofBudget);
    target_.limits().renew_steps();
    target_.limits().end_at(deadline);
    prove_until(thread, deadline);
    if (target_.limits().timed_out()) {
        thread.outcome.end = model::StackEnd::kTorn;
        // What was cut is not known. Reads fail now, so this forgets all of these code objects.
        raw_.codes.verify(thread.frames);
    }
    if (thread.outcome.end == model::StackEnd::kTorn) thread.frames = {};
    const bool is_cut = thread.outcome.end == model::StackEnd::kDepthLimit;
    if (is_cut && thread.frames.size() < raw_.stacks.max_depth()) target_.limits().refuse_bytes();
}

/// The thread states of one OS thread were proved at instants of their own. While one runs, those
/// that called it stand still: so the stacks belong together if the outer ones are the same after
/// the innermost one was proved, and the thread did not leave them and come back meanwhile.
Result<void> RunningCapture::prove_nested(Clock::time_point all_end) {
    if (raw_.walked.interpreters.size() < 2) return {};
    raw_.match();
    for (std::vector<std::size_t> states : raw_.os_threads()) {
        std::erase_if(states,
                      [&](std::size_t state) { return !raw_.threads[state].runs_python(); });
        if (states.size() < 2) continue;
        bool is_one = false;
        for (int round = 0; round < kNestedProofs && !is_one; ++round) {
            if (target_.limits().cancelled()) return fail(cancelled());
            is_one = prove_together(states, all_end);
        }
        if (is_one) continue;
        for (const std::size_t state : states) {
            raw_.threads[state].outcome.end = model::StackEnd::kTorn;
            raw_.threads[state].frames = {};
        }
    }
    return {};
}

/// `states` of one OS thread, innermost first. Where we can have its CPU, it must not have run at
/// all.
bool RunningCapture::prove_together(std::span<const std::size_t> states,
                                    Clock::time_point all_end) {
    const auto& os_thread = raw_.threads[states.front()].info;
    const std::int32_t tid = os_thread ? raw_.infos[*os_thread].tid : 0;
    const bool is_beside = tid != 0 && affinity_.pin_to(target_.pid(), tid);
    const auto run_before_ns = target_.run_time_ns(tid);
    prove_again(raw_.threads[states.front()], all_end);
    bool is_same = true;
    for (const std::size_t outer : states.subspan(1)) {
        const std::vector<RawFrame> before = raw_.threads[outer].frames;
        prove_again(raw_.threads[outer], all_end);
        is_same = is_same && raw_.threads[outer].frames == before;
    }
    return is_beside ? affinity_.stood_still(target_.pid(), tid, run_before_ns) : is_same;
}

void RunningCapture::prove_again(RawThread& thread, Clock::time_point all_end) {
    prove(thread, all_end);
    raw_.take_frames(thread);
    attempts_ += thread.outcome.attempts;
}

/// The names belong to the stack only if the code objects were known before it was proved and
/// are still the same after: then they were so at the moment of the proof.
void RunningCapture::prove_until(RawThread& thread, Clock::time_point deadline) {
    const auto begin = Clock::now();
    cpython::ReadPlan plan;
    SeenCalls calls;
    int attempts = 0;
    do {
        go_where_it_runs(thread);
        thread.outcome = raw_.stacks.read_running(thread.state.address, plan, kProofAttempts,
                                                  thread.frames, raw_.bytes_for_frames());
        attempts += thread.outcome.attempts;
        thread.outcome.attempts = attempts;
        if (target_.limits().cancelled()) return;
        if (thread.outcome.end == model::StackEnd::kTorn) continue;
        if (thread.outcome.end == model::StackEnd::kUnreadable) return;
        const bool known = all_known(thread.frames);
        raw_.codes.load(thread.frames);
        if (!known || !raw_.codes.instructions_fit(thread.frames)) continue;
        if (raw_.codes.is_truncated(thread.frames) && Clock::now() < begin + kBelief) {
            std::this_thread::sleep_for(kLookAgain);
            continue;
        }
        if (!calls.confirm(thread.frames)) continue;
        read_exceptions_of_still_thread(thread, plan);
        if (raw_.codes.verify(thread.frames)) return;
    } while (Clock::now() < deadline);
    thread.outcome.end = model::StackEnd::kTorn;
}

bool RunningCapture::all_known(std::span<const RawFrame> frames) const {
    return std::all_of(frames.begin(), frames.end(), [this](const RawFrame& frame) {
        return frame.shim || raw_.codes.find(frame.code) != nullptr;
    });
}

/// Exceptions are objects that the thread itself creates and frees: what is read of them counts
/// only if the thread has not moved meanwhile.
void RunningCapture::read_exceptions_of_still_thread(RawThread& thread, cpython::ReadPlan& plan) {
    const auto exceptions =
        cpython::read_exceptions(target_.memory(), raw_.runtime.layout, thread.state.address);
    std::vector<RawFrame> again;
    const auto outcome = raw_.stacks.read_running(thread.state.address, plan, kProofAttempts, again,
                                                  raw_.bytes_for_frames());
    const bool still = outcome.end == model::StackEnd::kComplete && again == thread.frames;
    thread.exceptions = still ? exceptions : cpython::ExceptionState{};
}

/// Names come from dicts that the target may be changing: only what two readings agree on
/// counts.
void RunningCapture::read_names_twice() {
    raw_.read_names();
    const std::vector<ThreadNames> first = std::exchange(raw_.names, {});
    raw_.read_names();
    for (std::size_t i = 0; i < raw_.names.size(); ++i) {
        std::erase_if(raw_.names[i], [&](const auto& item) {
            const auto before = first[i].find(item.first);
            return before == first[i].end() || before->second != item.second;
        });
    }
}

}  // namespace pystack::snapshot
