#include "sampling/running_engine.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "base/nanoseconds.h"

namespace pystack::sampling {

namespace {

using model::StackEnd;
using Motion = TrackedThread::Motion;

/// For so long a stack is the same before its thread is taken to be idle: what it does when it
/// wakes may go unnoticed for some milliseconds, see IdleThreadFilter.
constexpr std::uint64_t kAsleepForNs = 500'000'000;
constexpr std::uint64_t kMarkIdleEveryNs = 100'000'000;
/// Proofs of a thread that moves from one interpreter into another while it is read.
constexpr int kJoinedProofs = 3;

/// How long a tick waits for a thread that has to be stopped and gets no CPU.
constexpr std::chrono::milliseconds kStopPatience{5};
/// How long nothing is stopped after that was not allowed: a debugger may be at work.
constexpr std::uint64_t kNoStopsForNs = 1'000'000'000;

}  // namespace

RunningEngine::RunningEngine(std::unique_ptr<target::LiveTarget> target,
                             const SamplerOptions& options)
    : SampleEngine(std::move(target), options),
      prover_(target_->pid(), options.rate_hz),
      reader_(program_, threads_),
      stopped_(*target_, program_) {}

void RunningEngine::begin_program() {
    idle_threads_ = std::make_unique<IdleThreadFilter>(target_->pid());
}

void RunningEngine::forget_codes() {
    use_changed_ = true;
    for (TrackedThread* thread : threads_) {
        thread->forget_stack();
        thread->stack = {};
    }
}

void RunningEngine::forget_rows() {
    forget_codes();
    for (TrackedThread* thread : threads_) thread->task = {};
}

Result<void> RunningEngine::take_samples(const Tick& tick) {
    prover_.use({program_.stacks(), program_.codes(), program_.interner(),
                 program_.code_validator(), program_.interpreters()});
    prover_.use_tasks(program_.tasks());
    prover_.begin_tick(tick.now_ns);
    if (idle_threads_->find_woken(tick.now_ns)) update_idle();
    reader_.read(tick);
    if (program_.interpreters().interpreters().empty()) return {};
    program_.code_validator().accept(reader_.batch().batch, program_.interpreters());
    threads_.identify(program_.runtime(), program_.interpreters(), tick.now_ns);
    os_threads_.build(program_, threads_);
    for (const std::vector<std::size_t>& states : os_threads_.threads()) {
        if (states.size() == 1) {
            sample_thread(states.front(), tick);
        } else {
            sample_nested(states, tick);
        }
    }
    prepare_next();
    mark_idle(tick.now_ns);
    return {};
}

ThreadProver::Outcome RunningEngine::sample_state(std::size_t index, const Tick& tick) {
    TrackedThread& thread = threads_[index];
    if (thread.is_idle() && !wake_holder(index, tick.now_ns))
        return {.end = StackEnd::kComplete, .moved = false};
    const auto outcome = prover_.sample(thread, program_.interpreters().threads()[index],
                                        threads_.tid(index), reader_.batch());
    use_changed_ |= outcome.moved;
    thread.stop_need.note_proof(outcome.end == StackEnd::kTorn);
    const auto frames = thread.plan.frames();
    OsThreads::note_frames(program_, index,
                           {.frames = frames,
                            .outermost = frames.empty() ? RemoteAddr{} : frames.front().address,
                            .c_frame = thread.plan.c_frame()},
                           thread);
    return outcome;
}

void RunningEngine::sample_thread(std::size_t index, const Tick& tick) {
    const std::span<const std::size_t> states(&index, 1);
    const TrackedThread& thread = threads_[index];
    if (!thread.is_idle() && thread.stop_need.is_due() && sample_stopped(states, tick)) return;
    const auto outcome = sample_state(index, tick);
    const bool is_torn = outcome.end == StackEnd::kTorn;
    if (is_torn && thread.stop_need.is_due() && sample_stopped(states, tick)) return;
    record(states, outcome, tick);
}

/// A thread with states in several interpreters.
void RunningEngine::sample_nested(std::vector<std::size_t> states, const Tick& tick) {
    const auto is_due = [&] {
        return std::ranges::any_of(
            states, [&](std::size_t state) { return threads_[state].stop_need.is_due(); });
    };
    if (is_due() && sample_stopped(states, tick)) return;
    const auto outcome = prove_together(states, tick);
    if (outcome.end == StackEnd::kTorn && is_due() && sample_stopped(states, tick)) return;
    record(states, outcome, tick);
}

/// Each state is proved at an instant of its own. While one runs, those that called it stand still:
/// so the stacks belong together if the outer ones are the same after the inner one was proved.
/// Sorts the states: innermost first.
ThreadProver::Outcome RunningEngine::prove_together(std::span<std::size_t> states,
                                                    const Tick& tick) {
    ThreadProver::Outcome all{.end = StackEnd::kComplete, .moved = false};
    const auto prove = [&](std::size_t state) {
        const auto outcome = sample_state(state, tick);
        all.moved |= outcome.moved;
        if (is_lost(outcome.end)) all.end = outcome.end;
        return !is_lost(outcome.end);
    };
    for (const std::size_t state : states) {
        if (!prove(state)) return all;
    }
    OsThreads::sort(program_, threads_, states);
    for (int round = 0; round < kJoinedProofs; ++round) {
        bool is_same = true;
        for (const std::size_t outer : states.subspan(1)) {
            if (!threads_[outer].runs_python) continue;
            const model::StackId before = threads_[outer].stack.id();
            if (!prove(outer)) return all;
            is_same &= threads_[outer].stack.id() == before;
        }
        if (is_same) return all;
        if (!prove(states.front())) return all;
        OsThreads::sort(program_, threads_, states);
    }
    all.end = StackEnd::kTorn;
    return all;
}

/// False: there is no such sample.
bool RunningEngine::sample_stopped(std::span<const std::size_t> states, const Tick& tick) {
    const std::int32_t tid = threads_.tid(states.front());
    if (options_.stop != StopPolicy::kWhenNeeded || tid == 0 || tick.now_ns < stop_from_ns_)
        return false;
    std::vector<std::uint8_t> activity;
    for (const std::size_t state : states)
        activity.push_back(activity_bits(state, true, tick.now_ns));
    const auto outcome = stopped_.read(tid, states, kStopPatience, nullptr, tick.stats);
    // Beyond their share of the time, the other samples go on without stops.
    stop_from_ns_ =
        pauses_.next_start(tick.now_ns, to_ns(target_->standing_time()), options_.max_pause_share);
    if (outcome == StoppedThreads::Outcome::kRefused) stop_from_ns_ = tick.now_ns + kNoStopsForNs;
    if (outcome != StoppedThreads::Outcome::kRead) return false;
    const auto is_read = [](const StateRead& read) {
        return read.is_listed && !is_lost(read.outcome.end);
    };
    if (!std::ranges::all_of(stopped_.reads(), is_read)) return false;

    std::vector<std::size_t> sorted(states.begin(), states.end());
    program_.interner().set_stopped(true);
    for (std::size_t k = 0; k < states.size(); ++k) {
        StateRead& read = stopped_.reads()[k];
        TrackedThread& thread = threads_[states[k]];
        OsThreads::note_frames(program_, states[k], frames_of(read), thread);
        thread.forget_stack();
        std::reverse(read.frames.begin(), read.frames.end());
        program_.interner().intern(read.frames, 0, read.task, thread.stack);
        thread.stop_need.note_stop();
    }
    program_.interner().set_stopped(false);
    use_changed_ = true;
    OsThreads::sort(program_, threads_, sorted);
    const auto inner =
        static_cast<std::size_t>(std::ranges::find(states, sorted.front()) - states.begin());
    writer_.add(tick, threads_[OsThreads::first_state(program_, states)], stack_of(sorted),
                stopped_.reads()[inner].gil_bits | activity[inner]);
    ++tick.stats.stopped;
    return true;
}

model::StackId RunningEngine::stack_of(std::span<const std::size_t> innermost_first) {
    return innermost_first.size() == 1 ? threads_[innermost_first.front()].stack.id()
                                       : OsThreads::join(program_, threads_, innermost_first);
}

void RunningEngine::record(std::span<const std::size_t> innermost_first,
                           ThreadProver::Outcome outcome, const Tick& tick) {
    const std::size_t inner = innermost_first.front();
    TrackedThread& thread = threads_[OsThreads::first_state(program_, innermost_first)];
    model::SamplerStats& stats = tick.stats;
    // The others of a thread have no samples of their own.
    for (const std::size_t state : innermost_first) {
        if (&threads_[state] != &thread) threads_[state].last_ns = tick.until_ns;
    }
    const auto is_linked = [&](std::size_t state) {
        return program_.interpreters().is_linked(state);
    };
    if (!is_lost(outcome.end)) {
        const std::uint8_t gil = program_.gil_bits(program_.interpreters().threads()[inner]);
        const std::uint8_t bits = gil | activity_bits(inner, outcome.moved, tick.now_ns);
        waits_.follow(inner, bits, outcome.moved);
        const auto frames = threads_[inner].plan.frames();
        const auto wait = waits_.find(inner, frames.empty() ? nullptr : &frames.back());
        writer_.add(tick, thread, stack_of(innermost_first), bits, wait);
    } else if (!std::ranges::all_of(innermost_first, is_linked)) {
        writer_.lose(tick, thread, stats.vanished);
    } else {
        writer_.lose(tick, thread, outcome.end == StackEnd::kTorn ? stats.torn : stats.failed);
    }
}

/// Who moves is on a CPU when it may run Python code; of all others the kernel is asked.
std::uint8_t RunningEngine::activity_bits(std::size_t index, bool moved, std::uint64_t now_ns) {
    const cpython::ThreadState& state = program_.interpreters().threads()[index];
    const cpython::CachedInterpreters& interpreters = program_.interpreters();
    const auto& interpreter = interpreters.now(state.interpreter);
    const cpython::Layout& layout = program_.runtime().layout;
    TrackedThread& thread = threads_[index];
    if (thread.is_idle()) return thread.activity.last_bits();
    const bool holds = interpreter.gil_holder() == state.address;
    const bool attached =
        reader_.thread_flag(index, layout.thread_state.state) == cpython::kThreadAttached;
    return thread.activity.bits(
        {.now_ns = now_ns,
         .moved = moved,
         .runs_python = layout.free_threaded ? attached : holds,
         .asks_for_gil =
             !holds && reader_.thread_flag(index, layout.thread_state.gil_requested) > 0,
         .thread_state = state.address,
         .gil = interpreter.gil ? &*interpreter.gil : nullptr,
         .read_gil = [&] { return interpreters.gil_now(state.interpreter); },
         .thread_count = threads_.size()});
}

/// What the next tick verifies in its batch, and which thread it proves there.
void RunningEngine::prepare_next() {
    for (std::size_t i = 0; i < threads_.size(); ++i) {
        if (!threads_[i].is_quiet()) reader_.prove_next(i);
    }
    if (!use_changed_ && use_of_changes_ == threads_.changes()) return;
    use_changed_ = false;
    use_of_changes_ = threads_.changes();
    program_.code_validator().begin_use();
    for (const TrackedThread* thread : threads_) program_.code_validator().use(thread->stack);
}

// --- threads that do not run ---

void RunningEngine::update_idle() {
    for (std::size_t i = 0; i < threads_.size(); ++i) {
        TrackedThread& thread = threads_[i];
        if (thread.motion() < Motion::kAsleep) continue;
        thread.set_motion(idle_threads_->is_idle(threads_.tid(i)) ? Motion::kIdle
                                                                  : Motion::kAsleep);
    }
}

bool RunningEngine::had_gil_last(std::size_t index) const {
    const cpython::ThreadState& state = program_.interpreters().threads()[index];
    const auto& gil = program_.interpreters().now(state.interpreter).gil;
    return gil && gil->holder == state.address;
}

/// Whoever had the GIL last may have run since the run times were read. Its stack is not in the
/// batch.
bool RunningEngine::wake_holder(std::size_t index, std::uint64_t now_ns) {
    if (!had_gil_last(index)) return false;
    threads_[index].set_motion(Motion::kAsleep);
    idle_threads_->wake(threads_.tid(index), now_ns);
    return true;
}

void RunningEngine::mark_idle(std::uint64_t now_ns) {
    if (now_ns < mark_idle_at_ns_) return;
    mark_idle_at_ns_ = now_ns + kMarkIdleEveryNs;
    asleep_.clear();
    for (std::size_t i = 0; i < threads_.size(); ++i) {
        TrackedThread& thread = threads_[i];
        if (!thread.is_quiet()) continue;
        const bool is_asleep = threads_.tid(i) != 0 &&
                               thread.activity.sleeps_for(kAsleepForNs, now_ns) && !had_gil_last(i);
        thread.set_motion(is_asleep ? Motion::kAsleep : Motion::kQuiet);
        if (is_asleep) asleep_.push_back(threads_.tid(i));
    }
    idle_threads_->mark_idle(asleep_, now_ns);
    update_idle();
}

}  // namespace pystack::sampling
