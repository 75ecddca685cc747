#include "sampling/stopped_engine.h"

#include <algorithm>
#include <chrono>
#include <set>
#include <thread>
#include <unordered_map>
#include <utility>

namespace pystack::sampling {

namespace {

using model::StackEnd;

/// Stops of one sample: again when a thread was caught between two frames, which takes it some
/// instructions.
constexpr int kStops = 4;
constexpr auto kBetweenStops = std::chrono::microseconds(50);

}  // namespace

StoppedEngine::StoppedEngine(std::unique_ptr<target::LiveTarget> target,
                             const SamplerOptions& options)
    : SampleEngine(std::move(target), options), unclaimed_(*target_, threads_.identities()) {}

/// Whether stops are allowed, on a thread that ends as the sampling one does.
Result<void> StoppedEngine::check() {
    Result<void> checked;
    std::thread([&] {
        auto guard = target_->stop_patiently();
        // What takes too long is allowed, and each sample says so.
        if (!guard && !target_->stop_was_too_long()) checked = fail(std::move(guard).error());
    }).join();
    target_->forget_late_threads();
    return checked;
}

void StoppedEngine::begin_program() {
    native_.reset();
    blocked_threads_.reset();
    if (!options_.native) return;
    // Fails when the target has ended, which the next sample finds out.
    auto native = NativeSampling::create(*target_, program_.runtime(),
                                         options_.native->with_debug_root(target_->files()),
                                         program_.interner());
    if (native) native_ = std::move(*native);
    blocked_threads_ =
        std::make_unique<BlockedThreadCache>(target_->pid(), target_->memory(), program_.stacks());
}

void StoppedEngine::forget_codes() {
    if (native_) return;  // Its stacks have no code objects.
    for (TrackedThread* thread : threads_) thread->stack = {};
}

Result<void> StoppedEngine::take_samples(const Tick& tick) {
    std::vector<StackRead> reads;
    std::uint64_t stopped_ns = 0;
    for (int stops = 1;; ++stops) {
        std::span<const pid_t> asleep;
        if (blocked_threads_) {
            if (stops == kStops) blocked_threads_->forget_all();
            asleep = blocked_threads_->find();
        }
        if (stops == 1) look_at_threads(tick.now_ns);
        const auto stood_before = target_->standing_time();
        auto guard = target_->stop(asleep);
        if (!guard) {
            const ErrorCode code = guard.error().code;
            if (code != ErrorCode::kPermissionDenied && code != ErrorCode::kSystem)
                return find_again();
            stopped_ns +=
                static_cast<std::uint64_t>((target_->standing_time() - stood_before).count());
            tick.stats.count_stop(stopped_ns);
            return lose_samples(std::move(guard).error(), tick);
        }
        backoff_.note_stop();
        options_.limits->renew_steps(WorkLimits::kStopSteps);
        reads = read(*guard, asleep);
        guard->release();
        options_.limits->renew_steps();
        stopped_ns += static_cast<std::uint64_t>(guard->stop_time().count());
        // Who woke may have changed what was read.
        const bool woke = !asleep.empty() && !blocked_threads_->sleep_on();
        if (target_->stop_was_cut()) {
            tick.stats.count_stop(stopped_ns);
            return lose_samples(Error{.code = ErrorCode::kSystem, .what = "the stop took too long"},
                                tick);
        }
        const bool is_whole =
            !woke && std::none_of(reads.begin(), reads.end(),
                                  [](const StackRead& read) { return is_lost(read.outcome.end); });
        if (is_whole || stops == kStops) break;
        std::this_thread::sleep_for(kBetweenStops);
    }
    tick.stats.count_stop(stopped_ns);
    backoff_.note_success();

    threads_.update(program_.interpreters(), tick);
    threads_.identify(program_.runtime(), program_.interpreters(), tick.now_ns);
    if (native_) {
        intern_native(reads, tick);
    } else {
        intern(reads);
    }
    for (std::size_t i = 0; i < reads.size(); ++i) {
        if (is_lost(reads[i].outcome.end)) {
            const bool torn = reads[i].outcome.end == StackEnd::kTorn;
            writer_.lose(tick, threads_[i], torn ? tick.stats.torn : tick.stats.failed);
        } else {
            const std::uint8_t gil = gil_bits(program_.interpreters().threads()[i]);
            writer_.add(tick, threads_[i], gil | threads_[i].activity_bits);
        }
    }
    return {};
}

/// Another tracer may have the target for a moment, or it executes a program, or we were stopped
/// ourselves. What lasts for seconds ends the recording.
Result<void> StoppedEngine::lose_samples(Error error, const Tick& tick) {
    if (target_->stop_was_too_long()) {
        ++tick.stats.given_up;
        backoff_.note_too_long(tick.now_ns);
    }
    for (TrackedThread* thread : threads_) writer_.lose(tick, *thread, tick.stats.failed);
    if (threads_.size() == 0) {  // Before the first sample no thread is known.
        ++tick.stats.attempted;
        ++tick.stats.failed;
    }
    const bool refused = error.code == ErrorCode::kPermissionDenied;
    if (refused && backoff_.note_refusal(tick.now_ns)) return fail(std::move(error));
    return {};
}

/// What the threads do when nobody stops them. Those that sleep do what they did.
void StoppedEngine::look_at_threads(std::uint64_t now_ns) {
    const cpython::CachedInterpreters& interpreters = program_.interpreters();
    const std::size_t known = std::min(threads_.size(), interpreters.threads().size());
    for (std::size_t i = 0; i < known; ++i) {
        const cpython::ThreadState& state = interpreters.threads()[i];
        if (is_asleep(state)) continue;
        const auto& interpreter = interpreters.now(state.interpreter);
        threads_[i].activity_bits =
            threads_[i].activity.bits({.now_ns = now_ns,
                                       .thread_state = state.address,
                                       .gil = interpreter.gil ? &*interpreter.gil : nullptr});
    }
}

bool StoppedEngine::is_asleep(const cpython::ThreadState& state) const {
    if (!blocked_threads_) return false;
    const TrackedThread* known = threads_.find(state.address);
    return known != nullptr && known->unique_id == state.unique_id && known->stopped_tid != 0 &&
           blocked_threads_->is_asleep(known->stopped_tid);
}

/// All that is copied while the target stands still.
std::vector<StoppedEngine::StackRead> StoppedEngine::read(const process::StopGuard& guard,
                                                          std::span<const pid_t> asleep) {
    cpython::CachedInterpreters& interpreters = program_.interpreters();
    interpreters.read_stopped();
    std::vector<StackRead> reads(interpreters.threads().size());
    for (std::size_t i = 0; i < reads.size(); ++i) {
        const cpython::ThreadState& state = interpreters.threads()[i];
        StackRead& read = reads[i];
        read.is_asleep = is_asleep(state);
        if (read.is_asleep) continue;
        read.outcome = program_.stacks().read_stopped(state.address, read.frames);
        if (!program_.codes().verify(read.frames)) program_.interner().start_anew();
        program_.codes().load(read.frames);
        TaskNames* tasks = program_.tasks();
        if (tasks == nullptr) continue;
        const RemoteAddr task = tasks->running_task(state.address);
        TaskNames::Known unknown;
        if (task) read.task = tasks->frame_of(state.address, task, unknown);
    }
    if (native_) copy_native_stacks(guard, asleep);
    return reads;
}

void StoppedEngine::copy_native_stacks(const process::StopGuard& guard,
                                       std::span<const pid_t> asleep) {
    native_->begin();
    system_threads_.assign(asleep.begin(), asleep.end());
    for (const process::StoppedThread& thread : guard.threads()) {
        system_threads_.push_back(thread.tid);
        if (!thread.stopped) continue;
        if (const auto registers = guard.registers(thread.tid))
            native_->add_thread(thread.tid, *registers);
    }
    native_->copy(program_.interpreters().threads());
}

void StoppedEngine::intern(std::vector<StackRead>& reads) {
    for (std::size_t i = 0; i < reads.size(); ++i) {
        std::reverse(reads[i].frames.begin(), reads[i].frames.end());
        program_.interner().intern(reads[i].frames, 0, reads[i].task, threads_[i].stack);
    }
}

/// The thread that the state runs on; a number below 0 of its own: not known.
std::int32_t StoppedEngine::claimed_tid(std::size_t index) const {
    const cpython::ThreadState& state = program_.interpreters().threads()[index];
    // Threads that live for less than a sample are known by their registers only.
    const std::int32_t tid = native_->tid_of(state.python_thread_id).value_or(threads_.tid(index));
    return tid != 0 ? tid : -static_cast<std::int32_t>(index) - 1;
}

/// One system thread may run in several interpreters; each of its thread states has all of its
/// stack. Where the thread is not known, the Python frames alone are shown.
void StoppedEngine::intern_native(std::vector<StackRead>& reads, const Tick& tick) {
    const cpython::CachedInterpreters& interpreters = program_.interpreters();
    std::vector<RemoteAddr> addresses;
    for (const auto& one : interpreters.interpreters()) addresses.push_back(one.address);
    native_->catch_up(addresses, tick.now_ns);
    std::unordered_map<std::int32_t, std::vector<std::size_t>> by_tid;
    std::set<std::pair<std::size_t, std::uint64_t>> seen;
    for (std::size_t i = 0; i < reads.size(); ++i) {
        const cpython::ThreadState& state = interpreters.threads()[i];
        if (reads[i].is_asleep) {
            by_tid[threads_[i].stopped_tid];
            if (!threads_[i].is_whole) ++tick.stats.partly_merged;
            continue;
        }
        // A thread that has not begun to run bears its creator's id; see match_threads.
        const bool is_first = seen.emplace(state.interpreter, state.python_thread_id).second;
        by_tid[is_first ? claimed_tid(i) : -static_cast<std::int32_t>(i) - 1].push_back(i);
    }
    for (const auto& [tid, mine] : by_tid) {
        if (mine.empty()) continue;
        std::vector<NativeSampling::State> states;
        for (const std::size_t i : mine) {
            states.push_back({.address = interpreters.threads()[i].address,
                              .frames = reads[i].frames,
                              .task = reads[i].task});
        }
        const auto interned = native_->intern(tid, states);
        for (const std::size_t i : mine) {
            threads_[i].stack.entries.assign(1, {.stack = interned.stack});
            threads_[i].stopped_tid = std::max(tid, 0);
            threads_[i].is_whole = interned.is_whole;
            if (!interned.is_whole) ++tick.stats.partly_merged;
        }
        remember_blocked(tid, mine, reads);
    }
    std::erase_if(system_threads_, [&by_tid](std::int32_t tid) { return by_tid.contains(tid); });
    if (options_.native->all_threads) {
        sample_unclaimed(reads, tick);
        return;
    }
    for (const std::int32_t tid : system_threads_) {
        if (!blocked_threads_->is_asleep(tid)) remember_blocked(tid, {}, reads);
    }
}

/// `states` are those on the thread, by their places in `reads`; their frames are used up.
void StoppedEngine::remember_blocked(std::int32_t tid, std::span<const std::size_t> states,
                                     std::vector<StackRead>& reads) {
    const merge::StackCopies::Thread* copied = native_->copied(tid);
    if (copied == nullptr) return;
    std::vector<BlockedThreadCache::State> known;
    for (const std::size_t i : states) {
        known.push_back({program_.interpreters().threads()[i].address, std::move(reads[i].frames)});
    }
    const std::uint64_t below = copied->registers.sp() - copied->begin;
    const auto stack = copied->bytes.subspan(std::min<std::size_t>(below, copied->bytes.size()));
    blocked_threads_->remember(tid, copied->registers, stack, std::move(known));
}

/// The threads that no interpreter knows: those of system_threads_.
void StoppedEngine::sample_unclaimed(std::vector<StackRead>& reads, const Tick& tick) {
    for (const auto& [tid, thread] : unclaimed_.update(system_threads_, tick)) {
        if (!blocked_threads_->is_asleep(tid)) {
            const auto interned = native_->intern(tid, {});
            thread->stack.entries.assign(1, {.stack = interned.stack});
            thread->is_whole = interned.is_whole;
            remember_blocked(tid, {}, reads);
        }
        if (!thread->is_whole) ++tick.stats.partly_merged;
        writer_.add(tick, *thread, 0);
    }
}

}  // namespace pystack::sampling
