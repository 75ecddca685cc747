#include "sampling/thread_prover.h"

#include <algorithm>
#include <thread>

#include "process/proc_files.h"

namespace pystack::sampling {

namespace {

using model::StackEnd;

/// Each attempt is one system call; what fails that often changes too fast to be seen at this
/// moment.
constexpr int kProofAttempts = 200;
/// Of a thread that waits for our CPU: what cannot be proved then cannot before it goes on.
constexpr int kPinnedAttempts = 20;
/// A deep stack takes long to read. After this time a sample is given up when it is torn again.
constexpr std::chrono::milliseconds kLongestSample{20};
/// Half of the proofs may show a generator that is cut from its callers, see may_be_complete().
constexpr int kProofRounds = 24;
/// Above this rate, being where the target's thread runs would cost it too much.
constexpr double kMostFollowedHz = 10'000;
/// The thread is followed when more than one of so many proofs from another CPU fails, for so many
/// ticks. Then it is tried from elsewhere again: it may have come to rest.
constexpr int kProofsPerFailure = 32;
constexpr int kFailuresToFollow = 4;
constexpr int kPinnedTicks = 1000;
constexpr int kMostLateness = 50;
constexpr std::uint64_t kLongestKeepOffNs = 1'000'000'000'000;
/// A call that was never seen before counts when it is seen while the thread stands still; or,
/// where that cannot be had, when so many of the next proofs show it too.
constexpr int kCallProofs = 2;
constexpr int kCallAttempts = 1000;
constexpr int kPinnedCallAttempts = 40;
/// How long the thread goes on between two of those.
constexpr std::chrono::nanoseconds kBetweenLooks = std::chrono::microseconds(20);
/// A thread that was beside us at both ends of so short a time has not run in between.
constexpr std::chrono::nanoseconds kUndisturbedFor = std::chrono::microseconds(200);
/// What a tick may wait for its threads, in pauses that grow.
constexpr std::chrono::nanoseconds kFirstPause = std::chrono::microseconds(50);
constexpr std::chrono::nanoseconds kMostPatience = std::chrono::milliseconds(4);
/// A thread begins with a generator when so many proofs, over so long a time, say so.
constexpr int kCutProofs = 40;
constexpr std::uint64_t kCutForNs = 100'000'000;

std::chrono::nanoseconds half_interval(double rate_hz) {
    return std::chrono::nanoseconds(static_cast<std::int64_t>(0.5e9 / rate_hz));
}

}  // namespace

ThreadProver::ThreadProver(std::int32_t pid, double rate_hz)
    : pid_(pid),
      may_pin_(rate_hz <= kMostFollowedHz),
      patience_(std::min(kMostPatience, half_interval(rate_hz))) {}

void ThreadProver::begin_tick(std::uint64_t now_ns) {
    now_ns_ = now_ns;
    waited_ = {};
    proof_begin_ = std::chrono::steady_clock::now();
    if (!affinity_.is_pinned() || --pinned_ticks_left_ > 0) return;
    affinity_.unpin();
    failures_ = (kFailuresToFollow - 1) * kProofsPerFailure;
}

/// Whether the thread is too fast to be read from where we are.
bool ThreadProver::fails_often(bool failed) {
    failures_ = std::clamp(failures_ + (failed ? kProofsPerFailure : -1), 0,
                           kFailuresToFollow * kProofsPerFailure);
    return failures_ == kFailuresToFollow * kProofsPerFailure;
}

ThreadProver::Outcome ThreadProver::sample(TrackedThread& thread, const cpython::ThreadState& state,
                                           std::int32_t tid, const TickBatch& tick) {
    using Asked = TrackedThread::Asked;
    auto& [stacks, codes, interner, code_validator, interpreters] = *readers_;
    const std::size_t old_size = thread.stack.entries.size();
    const bool was_proved_in_batch = tick.holds && thread.asked == Asked::kProof;
    sample_until_ = std::chrono::steady_clock::now() + kLongestSample;
    StackEnd end = StackEnd::kTorn;
    bool in_batch = tick.holds;
    bool stands = false;
    if (tick.holds && thread.asked == Asked::kLook &&
        stacks.is_unchanged(thread.plan, tick.batch, thread.first_piece)) {
        stands = true;
        end = thread.plan.frames().empty() ? StackEnd::kNoPython : StackEnd::kComplete;
    } else if (was_proved_in_batch) {
        end =
            stacks.judge_proof(thread.plan, tick.batch, thread.first_piece, tick.timing, false).end;
        if (!is_lost(end)) fails_often(false);
    }
    for (int round = 0; round < kProofRounds; ++round) {
        if (is_lost(end)) {
            in_batch = stands = false;
            end = prove(thread, state, tid, round == 0 && was_proved_in_batch);
            if (end == StackEnd::kTorn && !is_out_of_time() && wait_patiently()) continue;
            if (is_lost(end)) break;
        }
        std::optional<model::FrameId> task = thread.stack.task;
        if (!stands && !name_task(thread, state, task) && round + 1 < kProofRounds) {
            end = StackEnd::kTorn;
            continue;
        }
        const std::size_t unchanged = thread.plan.consume_unchanged();
        const std::size_t size = thread.plan.frames().size();
        const bool same = unchanged == size && size == old_size && task == thread.stack.task;
        switch (interner.intern(thread.plan.frames(), unchanged, task, thread.stack)) {
            case FrameInterner::Outcome::kDone:
                if (!may_be_complete(thread)) break;
                if (!code_validator.holds(thread.stack, in_batch, state.interpreter, interpreters))
                    break;
                thread.note_sample(same);
                return {.end = end, .moved = !same};
            case FrameInterner::Outcome::kUnknownCode:
                codes.load(thread.plan.frames());
                break;
            case FrameInterner::Outcome::kUnproved:
                prove_call(thread, state, tid);
                break;
            case FrameInterner::Outcome::kUnfit:
                break;
        }
        end = StackEnd::kTorn;
        if (is_out_of_time()) break;
    }
    thread.note_sample(false);
    return {.end = end, .moved = !stands};
}

/// What changes faster than it can be read would be met only where it lasts, and its samples would
/// tell of other shares than it has. So failures are answered by going where the thread is: it
/// waits for the CPU then, wherever it happens to be. The next ticks find us there.
StackEnd ThreadProver::prove(TrackedThread& thread, const cpython::ThreadState& state,
                             std::int32_t tid, bool failed_before) {
    cpython::StackReader& stacks = readers_->stacks;
    if (!failed_before) {
        const StackEnd end = stacks.prove(state.address, thread.plan, 1, false).end;
        if (end != StackEnd::kTorn) {
            fails_often(false);
            return end;
        }
    }
    // A thread that was followed has gone to another CPU, or it is another one's turn.
    const bool is_fast = fails_often(true) || affinity_.is_pinned();
    const bool pinned =
        is_fast && may_pin_ && tid != 0 && now_ns_ >= pin_from_ns_ && affinity_.pin_to(pid_, tid);
    if (pinned) pinned_ticks_left_ = kPinnedTicks;
    const auto prove_within = [&](int attempts) {
        proof_begin_ = std::chrono::steady_clock::now();
        return stacks.prove(state.address, thread.plan, attempts, false, sample_until_).end;
    };
    const StackEnd end = prove_within(pinned ? kPinnedAttempts : kProofAttempts);
    if (end != StackEnd::kTorn || pinned || tid == 0 || !affinity_.pin_to(pid_, tid)) return end;
    // Before it is lost. Not to stay there, because of the rate.
    const StackEnd beside = prove_within(kPinnedAttempts);
    affinity_.unpin();
    return beside;
}

/// Others may have the CPU on which we wait for the target's thread: when a third of the ticks come
/// late there, any other is better for a while.
void ThreadProver::note_lateness(bool late, std::uint64_t now_ns) {
    lateness_ = std::max(0, lateness_ + (late ? 2 : -1));
    if (lateness_ < kMostLateness) return;
    lateness_ = 0;
    if (!affinity_.is_pinned()) return;
    affinity_.unpin();
    pin_from_ns_ = now_ns + keep_off_ns_;
    keep_off_ns_ = std::min(keep_off_ns_ * 2, kLongestKeepOffNs);
}

bool ThreadProver::is_out_of_time() const {
    return std::chrono::steady_clock::now() > sample_until_;
}

/// Whether the thread did not run since the last proof began, because we have its CPU.
bool ThreadProver::did_not_run(std::int32_t tid) const {
    return affinity_.shares_cpu_with(pid_, tid) &&
           std::chrono::steady_clock::now() - proof_begin_ < kUndisturbedFor;
}

/// The same, of a proof that takes longer: a deep stack is read for milliseconds.
bool ThreadProver::did_not_run_since(std::optional<std::uint64_t> run_before_ns,
                                     std::int32_t tid) const {
    return did_not_run(tid) || affinity_.stood_still(pid_, tid, run_before_ns);
}

/// Whether the call that was found for the first time is one that the program makes. A proof of a
/// running thread can mix two moments when the program repeats itself, and more often than some
/// true calls are seen; a thread that stands still shows what there is.
bool ThreadProver::prove_call(TrackedThread& thread, const cpython::ThreadState& state,
                              std::int32_t tid) {
    auto& [stacks, codes, interner, code_validator, interpreters] = *readers_;
    const FrameInterner::CallId call = interner.unproved_call();
    if (did_not_run(tid)) {
        interner.prove_call(call);
        return true;
    }
    // What was looked for in vain is looked for ever more seldom.
    const std::uint32_t failures = interner.count_failure(call);
    if ((failures & (failures - 1)) != 0) return false;
    const bool may_stay = affinity_.is_pinned();
    const bool stands = tid != 0 && affinity_.pin_to(pid_, tid);
    const int attempts = stands ? kPinnedCallAttempts : kCallAttempts;
    int seen = 0;
    bool proved = false;
    for (int attempt = 0; attempt < attempts && !proved; ++attempt) {
        if (attempt > 0 && is_out_of_time()) break;
        proof_begin_ = std::chrono::steady_clock::now();
        const auto run_before_ns = stands ? process::read_run_time_ns(pid_, tid) : std::nullopt;
        const bool is_read = !is_lost(stacks.prove(state.address, thread.plan, 1, true).end);
        const auto interned =
            is_read ? interner.intern(thread.plan.frames(), thread.plan.consume_unchanged(),
                                      thread.stack.task, thread.stack)
                    : FrameInterner::Outcome::kUnfit;
        if (interned == FrameInterner::Outcome::kUnknownCode) codes.load(thread.plan.frames());
        const bool again =
            interned == FrameInterner::Outcome::kUnproved && interner.unproved_call() == call;
        proved = again && (stands ? did_not_run_since(run_before_ns, tid) : ++seen == kCallProofs);
        if (stands && !proved) std::this_thread::sleep_for(kBetweenLooks);
    }
    if (proved) interner.prove_call(call);
    if (!may_stay) affinity_.unpin();
    return proved;
}

/// The frame of the task that the thread ran when it was proved. False when it has ended since.
bool ThreadProver::name_task(TrackedThread& thread, const cpython::ThreadState& state,
                             std::optional<model::FrameId>& frame) {
    frame.reset();
    const RemoteAddr task = thread.plan.running_task();
    if (!task || tasks_ == nullptr) return true;
    frame = tasks_->frame_of(state.address, task, thread.task);
    return frame.has_value();
}

/// A chain that begins with a generator lacks its callers, mostly: see FrameFormat::is_outermost.
/// Believed in the end, because some threads do begin so, but not while the thread may just have
/// lost its processor at that moment.
bool ThreadProver::may_be_complete(TrackedThread& thread) const {
    if (!readers_->interner.is_truncated(thread.stack)) {
        thread.cut_proofs = 0;
        return true;
    }
    if (thread.cut_proofs == 0) thread.cut_since_ns = now_ns_;
    thread.cut_proofs = std::min(thread.cut_proofs + 1, kCutProofs);
    return thread.cut_proofs == kCutProofs && now_ns_ - thread.cut_since_ns >= kCutForNs;
}

/// A thread that lost its processor while it was linking frames cannot be proved before it gets it
/// back. False when this tick has waited enough.
bool ThreadProver::wait_patiently() {
    const std::chrono::nanoseconds pause = std::max(kFirstPause, waited_);
    if (waited_ + pause > patience_) return false;
    waited_ += pause;
    std::this_thread::sleep_for(pause);
    return true;
}

}  // namespace pystack::sampling
