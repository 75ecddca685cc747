#include "sampling/stopped_engine.h"

#include <algorithm>
#include <thread>
#include <unordered_set>
#include <utility>

#include "base/nanoseconds.h"
#include "process/proc_files.h"

namespace pystack::sampling {

namespace {

using model::StackEnd;
using std::chrono::milliseconds;

/// How long others wait for a thread that gets no CPU, before their turn comes; and how long the
/// tick waits for all of these.
constexpr milliseconds kFirstPatience{1};
constexpr milliseconds kMostPatience{1000};
/// Between two looks at those that others do not wait for, and at whether the recording ends.
constexpr auto kBetweenRounds = std::chrono::microseconds(50);
constexpr milliseconds kLongestWait{20};

}  // namespace

StoppedEngine::StoppedEngine(std::unique_ptr<target::LiveTarget> target,
                             const SamplerOptions& options)
    : SampleEngine(std::move(target), options),
      stopped_(*target_, program_),
      unclaimed_(*target_, threads_.identities()) {}

/// Whether stops are allowed, on a thread that ends as the sampling one does.
Result<void> StoppedEngine::check() {
    Result<void> checked;
    std::thread([&] { checked = target_->check_stops(); }).join();
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
    forget_blocked();
}

/// Each thread is stopped for its next sample.
void StoppedEngine::forget_blocked() {
    blocked_threads_ =
        std::make_unique<BlockedThreadCache>(target_->pid(), target_->memory(), program_.stacks());
}

void StoppedEngine::forget_codes() {
    if (native_) return;  // Its stacks have no code objects.
    for (TrackedThread* thread : threads_) thread->stack = {};
}

void StoppedEngine::forget_rows() {
    for (TrackedThread* thread : threads_) thread->stack = {};
    unclaimed_.clear();
    if (!native_) return;
    native_->forget_rows();
    forget_blocked();
}

Result<void> StoppedEngine::take_samples(const Tick& tick) {
    cpython::CachedInterpreters& interpreters = program_.interpreters();
    interpreters.read();
    threads_.update(interpreters, tick);
    if (interpreters.interpreters().empty()) return {};
    threads_.identify(program_.runtime(), interpreters, tick.now_ns);
    os_threads_.build(program_, threads_);
    if (native_) {
        std::vector<RemoteAddr> addresses;
        for (const auto& one : interpreters.interpreters()) addresses.push_back(one.address);
        native_->catch_up(addresses, tick.now_ns);
        blocked_threads_->find();
    }
    return sample_all(plan_visits(tick), tick);
}

// --- which threads ---

bool StoppedEngine::is_asleep(const cpython::ThreadState& state) const {
    if (!blocked_threads_) return false;
    const TrackedThread* known = threads_.find(state.address);
    return known != nullptr && known->stopped_tid != 0 &&
           blocked_threads_->is_asleep(known->stopped_tid);
}

/// Those that have to be stopped. All others are sampled here.
std::vector<StoppedEngine::Visit> StoppedEngine::plan_visits(const Tick& tick) {
    const auto& states = program_.interpreters().threads();
    std::vector<Visit> visits;
    Visit unknown;
    for (const std::vector<std::size_t>& mine : os_threads_.threads()) {
        const std::size_t inner = mine.front();
        const auto sleeps = [&](std::size_t state) { return is_asleep(states[state]); };
        if (std::ranges::all_of(mine, sleeps)) {
            const std::uint8_t bits =
                program_.gil_bits(states[inner]) | threads_[inner].activity_bits;
            waits_.follow(inner, bits, false);
            add_native(threads_[OsThreads::first_state(program_, mine)], tick, bits,
                       wait_of(inner));
        } else if (const std::int32_t tid = threads_.tid(inner); tid != 0) {
            visits.push_back({.tid = tid, .states = mine});
        } else if (!sample_starting(inner, tick)) {
            unknown.states.push_back(inner);
        }
    }
    if (!unknown.states.empty()) visits.push_back(std::move(unknown));
    if (native_ && options_.native->all_threads) plan_unclaimed(visits, tick);
    return visits;
}

/// The threads that no interpreter knows.
void StoppedEngine::plan_unclaimed(std::vector<Visit>& visits, const Tick& tick) {
    std::unordered_set<std::int32_t> claimed;
    for (std::size_t i = 0; i < threads_.size(); ++i) claimed.insert(threads_.tid(i));
    std::vector<std::int32_t> tids;
    for (const pid_t tid : process::list_tasks(target_->pid())) {
        if (!claimed.contains(tid)) tids.push_back(tid);
    }
    for (const auto& [tid, thread] : unclaimed_.update(tids, tick)) {
        if (blocked_threads_->is_asleep(tid)) {
            add_native(*thread, tick, 0);
        } else {
            visits.push_back({.tid = tid, .unclaimed = thread});
        }
    }
}

/// A state is made by the thread that starts another, and has no id of its own before that runs:
/// nothing is on it then but a shim (3.14+). False: it has frames.
bool StoppedEngine::sample_starting(std::size_t index, const Tick& tick) {
    std::vector<cpython::RawFrame> frames;
    const auto outcome =
        program_.stacks().read_stopped(program_.interpreters().threads()[index].address, frames);
    if (is_lost(outcome.end) || !std::ranges::all_of(frames, &cpython::RawFrame::shim))
        return false;
    threads_[index].stack = {};
    writer_.add(tick, threads_[index], 0, 0);
    return true;
}

// --- one after the other ---

Result<void> StoppedEngine::sample_all(std::vector<Visit> visits, const Tick& tick) {
    using Clock = std::chrono::steady_clock;
    const auto deadline = Clock::now() + kMostPatience;
    milliseconds patience = kFirstPatience;
    while (!visits.empty()) {
        std::vector<Visit> late;
        for (Visit& visit : visits) {
            const bool is_only = visits.size() == 1;
            PYSTACK_TRY(done, sample(visit, is_only ? kLongestWait : patience, tick));
            if (!done) late.push_back(std::move(visit));
        }
        visits = std::move(late);
        patience = milliseconds(0);
        if (Clock::now() >= deadline || options_.limits->cancelled()) break;
        if (!visits.empty()) std::this_thread::sleep_for(kBetweenRounds);
    }
    if (!visits.empty()) ++tick.stats.given_up;
    for (const Visit& visit : visits) lose(visit, tick, tick.stats.failed);
    return {};
}

Result<bool> StoppedEngine::sample(Visit& visit, milliseconds patience, const Tick& tick) {
    if (visit.asked_ns == 0) {
        look_at(visit, tick.now_ns);
        visit.asked_ns = monotonic_ns();
    }
    switch (stopped_.read(visit.tid, visit.states, patience, native_.get(), tick.stats)) {
        case StoppedThreads::Outcome::kNotYet:
            return false;
        case StoppedThreads::Outcome::kEnded:
            lose(visit, tick, tick.stats.vanished);
            return true;
        case StoppedThreads::Outcome::kRefused:
            PYSTACK_CHECK(lose_refused(visit, tick));
            return true;
        case StoppedThreads::Outcome::kRead:
            break;
    }
    backoff_.note_stop();
    backoff_.note_success();
    note_frames(visit);
    intern(visit);
    // It has had this stack since it was asked, however long it waited for a CPU to stop.
    Tick moment = tick;
    moment.now_ns = stopped_.read_at_ns();
    moment.most_weight_ns += moment.now_ns - visit.asked_ns;
    moment.until_ns = std::max(moment.until_ns, moment.now_ns);
    note_looked_until(moment.now_ns);
    add(visit, moment);
    return true;
}

/// What the thread does when nobody stops it.
void StoppedEngine::look_at(const Visit& visit, std::uint64_t now_ns) {
    const cpython::CachedInterpreters& interpreters = program_.interpreters();
    for (const std::size_t i : visit.states) {
        const cpython::ThreadState& state = interpreters.threads()[i];
        const auto& interpreter = interpreters.now(state.interpreter);
        threads_[i].activity_bits = threads_[i].activity.bits(
            {.now_ns = now_ns,
             .thread_state = state.address,
             .gil = interpreter.gil ? &*interpreter.gil : nullptr,
             .read_gil = [&] { return interpreters.gil_now(state.interpreter); }});
        // A thread of several interpreters waits in the one that runs.
        waits_.follow(i, threads_[i].activity_bits, threads_[i].has_moved);
    }
}

model::WaitId StoppedEngine::wait_of(std::size_t state) {
    const auto& innermost = threads_[state].innermost;
    return waits_.find(state, innermost ? &*innermost : nullptr);
}

/// Another tracer may have the target for a moment, or it executes a program, or we were stopped
/// ourselves. What lasts for seconds ends the recording.
Result<void> StoppedEngine::lose_refused(const Visit& visit, const Tick& tick) {
    if (target_->stop_was_too_long()) {
        ++tick.stats.given_up;
        backoff_.note_too_long(tick.now_ns);
    }
    lose(visit, tick, tick.stats.failed);
    const Error& error = stopped_.error();
    const bool refused = error.code == ErrorCode::kPermissionDenied;
    if (refused && backoff_.note_refusal(tick.now_ns)) return fail(error);
    return {};
}

void StoppedEngine::lose(const Visit& visit, const Tick& tick, std::uint64_t& count) {
    if (visit.tid != 0 && !visit.states.empty()) {
        // The states of one thread have one sample.
        writer_.lose(tick, threads_[OsThreads::first_state(program_, visit.states)], count);
    } else {
        for (const std::size_t i : visit.states) writer_.lose(tick, threads_[i], count);
    }
    if (visit.unclaimed != nullptr) writer_.lose(tick, *visit.unclaimed, count);
}

// --- what was read ---

/// Sorts the states of a thread by where they run: innermost first.
void StoppedEngine::note_frames(Visit& visit) {
    std::vector<StateRead>& reads = stopped_.reads();
    for (std::size_t k = 0; k < reads.size(); ++k) {
        OsThreads::note_frames(program_, visit.states[k], frames_of(reads[k]),
                               threads_[visit.states[k]]);
        TrackedThread& thread = threads_[visit.states[k]];
        const auto before = std::exchange(thread.innermost, std::nullopt);
        if (!reads[k].frames.empty()) thread.innermost = reads[k].frames.front();
        thread.has_moved = thread.innermost != before;
    }
    if (visit.tid == 0 || visit.states.size() < 2) return;
    const std::vector<std::size_t> before = visit.states;
    OsThreads::sort(program_, threads_, visit.states);
    std::vector<StateRead> sorted;
    for (const std::size_t state : visit.states) {
        const auto place = std::ranges::find(before, state) - before.begin();
        sorted.push_back(std::move(reads[static_cast<std::size_t>(place)]));
    }
    reads = std::move(sorted);
}

void StoppedEngine::intern(const Visit& visit) {
    std::vector<StateRead>& reads = stopped_.reads();
    if (!native_) {
        for (std::size_t k = 0; k < reads.size(); ++k) {
            std::reverse(reads[k].frames.begin(), reads[k].frames.end());
            program_.interner().intern(reads[k].frames, 0, reads[k].task,
                                       threads_[visit.states[k]].stack);
        }
        return;
    }
    std::vector<std::size_t> places;
    for (std::size_t k = 0; k < reads.size(); ++k) {
        if (reads[k].is_listed) places.push_back(k);
    }
    if (visit.tid != 0) return intern_native(visit.tid, places, visit);
    for (const std::size_t k : places) {
        const auto& state = program_.interpreters().threads()[visit.states[k]];
        const auto tid = native_->tid_of(state.python_thread_id);
        intern_native(tid.value_or(0), std::span(&k, 1), visit);
    }
}

/// Each thread state of a thread has all of its stack. `places` are those in the reads. Where the
/// thread is not known (0), the Python frames alone are shown.
void StoppedEngine::intern_native(std::int32_t tid, std::span<const std::size_t> places,
                                  const Visit& visit) {
    std::vector<NativeSampling::State> states;
    for (const std::size_t k : places) {
        const StateRead& read = stopped_.reads()[k];
        const cpython::CachedInterpreters& interpreters = program_.interpreters();
        const cpython::ThreadState& state = interpreters.threads()[visit.states[k]];
        states.push_back({.address = state.address,
                          .frames = read.frames,
                          .task = read.task,
                          .interpreter_id = interpreters.interpreters()[state.interpreter].id});
    }
    const auto interned = native_->intern(tid, states);
    const auto keep = [&](TrackedThread& thread) {
        thread.stack.entries.assign(1, {.stack = interned.stack});
        thread.stopped_tid = tid;
        thread.is_whole = interned.is_whole;
    };
    for (const std::size_t k : places) keep(threads_[visit.states[k]]);
    if (visit.unclaimed != nullptr) keep(*visit.unclaimed);
    remember_blocked(tid, places, visit);
}

/// The frames that were read are used up.
void StoppedEngine::remember_blocked(std::int32_t tid, std::span<const std::size_t> places,
                                     const Visit& visit) {
    const merge::StackCopies::Thread* copied = native_->copied(tid);
    if (copied == nullptr) return;
    std::vector<BlockedThreadCache::State> known;
    for (const std::size_t k : places) {
        known.push_back({program_.interpreters().threads()[visit.states[k]].address,
                         std::move(stopped_.reads()[k].frames)});
    }
    const std::uint64_t below = copied->registers.sp() - copied->begin;
    const auto stack = copied->bytes.subspan(std::min<std::size_t>(below, copied->bytes.size()));
    blocked_threads_->remember(tid, copied->registers, stack, std::move(known));
}

void StoppedEngine::add(const Visit& visit, const Tick& tick) {
    const std::span<const std::size_t> states(visit.states);
    const std::span<const StateRead> reads(stopped_.reads());
    if (visit.tid != 0 && !states.empty()) {
        add_thread(states, reads, tick);
    } else {
        for (std::size_t k = 0; k < states.size(); ++k)
            add_thread(states.subspan(k, 1), reads.subspan(k, 1), tick);
    }
    if (visit.unclaimed != nullptr) add_native(*visit.unclaimed, tick, 0);
}

/// The sample of a thread with these states, the innermost first.
void StoppedEngine::add_thread(std::span<const std::size_t> states,
                               std::span<const StateRead> reads, const Tick& tick) {
    TrackedThread& thread = threads_[OsThreads::first_state(program_, states)];
    for (const std::size_t state : states) {
        if (&threads_[state] != &thread) threads_[state].last_ns = tick.until_ns;
    }
    const auto is_lost_read = [](const StateRead& read) { return is_lost(read.outcome.end); };
    const auto lost = std::ranges::find_if(reads, is_lost_read);
    const std::uint8_t bits = reads.front().gil_bits | threads_[states.front()].activity_bits;
    if (!std::ranges::all_of(reads, &StateRead::is_listed)) {
        writer_.lose(tick, thread, tick.stats.vanished);
    } else if (lost != reads.end()) {
        const bool is_torn = lost->outcome.end == StackEnd::kTorn;
        writer_.lose(tick, thread, is_torn ? tick.stats.torn : tick.stats.failed);
    } else if (native_) {
        add_native(thread, tick, bits, wait_of(states.front()));
    } else {
        writer_.add(
            tick, thread,
            states.size() == 1 ? thread.stack.id() : OsThreads::join(program_, threads_, states),
            bits, wait_of(states.front()));
    }
}

/// `thread` has the merged stack of its last sample.
void StoppedEngine::add_native(TrackedThread& thread, const Tick& tick, std::uint8_t state,
                               model::WaitId wait) {
    if (!thread.is_whole) ++tick.stats.partly_merged;
    writer_.add(tick, thread, thread.stack.id(), state, wait);
}

}  // namespace pystack::sampling
