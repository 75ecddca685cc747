#include "sampling/running_engine.h"

#include <algorithm>
#include <chrono>
#include <utility>

namespace pystack::sampling {

namespace {

using model::StackEnd;
using Motion = TrackedThread::Motion;

/// For so long a stack is the same before its thread is taken to be idle: what it does when it
/// wakes may go unnoticed for some milliseconds, see IdleThreadFilter.
constexpr std::uint64_t kAsleepForNs = 500'000'000;
constexpr std::uint64_t kMarkIdleEveryNs = 100'000'000;

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
    for (std::size_t i = 0; i < threads_.size(); ++i) sample_thread(i, tick);
    prepare_next();
    mark_idle(tick.now_ns);
    return {};
}

void RunningEngine::sample_thread(std::size_t index, const Tick& tick) {
    TrackedThread& thread = threads_[index];
    if (thread.is_idle() && !wake_holder(index, tick.now_ns)) {
        record(index, {.end = StackEnd::kComplete, .moved = false}, tick);
        return;
    }
    if (thread.stop_need.is_due() && sample_stopped(index, tick)) return;
    const auto outcome = prover_.sample(thread, program_.interpreters().threads()[index],
                                        threads_.tid(index), reader_.batch());
    use_changed_ |= outcome.moved;
    const bool is_torn = outcome.end == StackEnd::kTorn;
    thread.stop_need.note_proof(is_torn);
    if (is_torn && thread.stop_need.is_due() && sample_stopped(index, tick)) return;
    record(index, outcome, tick);
}

/// False: there is no such sample.
bool RunningEngine::sample_stopped(std::size_t index, const Tick& tick) {
    const std::int32_t tid = threads_.tid(index);
    if (options_.stop != StopPolicy::kWhenNeeded || tid == 0 || tick.now_ns < stop_from_ns_)
        return false;
    const std::uint8_t activity = activity_bits(index, true, tick.now_ns);
    const auto outcome =
        stopped_.read(tid, std::span(&index, 1), kStopPatience, nullptr, tick.stats);
    // Beyond their share of the time, the other samples go on without stops.
    stop_from_ns_ = pauses_.next_start(tick.now_ns,
                                       static_cast<std::uint64_t>(target_->standing_time().count()),
                                       options_.max_pause_share);
    if (outcome == StoppedThreads::Outcome::kRefused) stop_from_ns_ = tick.now_ns + kNoStopsForNs;
    if (outcome != StoppedThreads::Outcome::kRead) return false;
    StateRead& read = stopped_.reads().front();
    if (!read.is_listed || is_lost(read.outcome.end)) return false;

    TrackedThread& thread = threads_[index];
    thread.forget_stack();
    std::reverse(read.frames.begin(), read.frames.end());
    program_.interner().set_stopped(true);
    program_.interner().intern(read.frames, 0, read.task, thread.stack);
    program_.interner().set_stopped(false);
    use_changed_ = true;
    thread.stop_need.note_stop();
    writer_.add(tick, thread, read.gil_bits | activity);
    ++tick.stats.stopped;
    return true;
}

void RunningEngine::record(std::size_t index, ThreadProver::Outcome outcome, const Tick& tick) {
    TrackedThread& thread = threads_[index];
    model::SamplerStats& stats = tick.stats;
    if (!is_lost(outcome.end)) {
        const std::uint8_t gil = program_.gil_bits(program_.interpreters().threads()[index]);
        writer_.add(tick, thread, gil | activity_bits(index, outcome.moved, tick.now_ns));
    } else if (!program_.interpreters().is_linked(index)) {
        writer_.lose(tick, thread, stats.vanished);
    } else {
        writer_.lose(tick, thread, outcome.end == StackEnd::kTorn ? stats.torn : stats.failed);
    }
}

/// Who moves is on a CPU when it may run Python code; of all others the kernel is asked.
std::uint8_t RunningEngine::activity_bits(std::size_t index, bool moved, std::uint64_t now_ns) {
    const cpython::ThreadState& state = program_.interpreters().threads()[index];
    const auto& interpreter = program_.interpreters().now(state.interpreter);
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
