// The samples of SampleEngine for which the target is stopped.

#include <algorithm>
#include <chrono>
#include <optional>
#include <set>
#include <thread>
#include <utility>

#include "capture/sample_engine.h"
#include "threads/right_of_way.h"

namespace pystack::capture {

namespace {

using model::StackEnd;

/// Stops of one sample: again when a thread was caught between two frames, which takes it some
/// instructions.
constexpr int kStops = 4;
constexpr auto kBetweenStops = std::chrono::microseconds(50);

}  // namespace

Result<void> SampleEngine::sample_stopped(std::uint64_t now_ns, model::Batch& batch,
                                          model::SamplerStats& stats) {
    std::vector<StillStack> reads;
    std::uint64_t stopped = 0;
    for (int stops = 1;; ++stops) {
        std::optional<threads::RightOfWay> right_of_way(std::in_place);
        std::span<const pid_t> asleep;
        if (sleep_watch_) {
            if (stops == kStops) sleep_watch_->forget_all();
            asleep = sleep_watch_->find();
        }
        if (stops == 1) look_at_threads(now_ns);
        auto guard = target_->stop(asleep);
        if (!guard) {
            if (guard.error().code != ErrorCode::kPermissionDenied) return find_again();
            return fail(std::move(guard).error());
        }
        reads = read_still(*guard, asleep);
        guard->release();
        right_of_way.reset();
        stopped += static_cast<std::uint64_t>(guard->stop_time().count());
        // Who woke may have changed what was read.
        const bool woke = !asleep.empty() && !sleep_watch_->sleep_on();
        const bool caught =
            woke || std::any_of(reads.begin(), reads.end(), [](const StillStack& read) {
                return read.outcome.end == StackEnd::kTorn ||
                       read.outcome.end == StackEnd::kUnreadable;
            });
        if (!caught || stops == kStops) break;
        std::this_thread::sleep_for(kBetweenStops);
    }
    stats.count_stop(stopped);

    follow_threads(now_ns);
    identify(now_ns);
    if (native_) intern_native(reads, now_ns, batch, stats);
    for (std::size_t i = 0; i < reads.size(); ++i) {
        if (!native_) {
            std::reverse(reads[i].frames.begin(), reads[i].frames.end());
            interner_->intern(reads[i].frames, 0, reads[i].task, order_[i]->stack);
        }
        record(i, reads[i].outcome.end, true, now_ns, batch, stats);
    }
    return {};
}

/// What the threads do when nobody stops them. Those that sleep do what they did.
void SampleEngine::look_at_threads(std::uint64_t now_ns) {
    for (std::size_t i = 0; i < order_.size() && i < watch_->threads().size(); ++i) {
        const cpython::ThreadState& state = watch_->threads()[i];
        if (sleeps(state)) continue;
        const InterpreterWatch::Interpreter& interpreter = watch_->now(state.interpreter);
        order_[i]->activity_bits =
            order_[i]->activity.bits({.now_ns = now_ns,
                                      .thread_state = state.address,
                                      .gil = interpreter.gil_known ? &interpreter.gil : nullptr});
    }
}

bool SampleEngine::sleeps(const cpython::ThreadState& state) const {
    const auto known = by_state_.find(state.address);
    return sleep_watch_ && known != by_state_.end() &&
           known->second->unique_id == state.unique_id && known->second->stopped_tid != 0 &&
           sleep_watch_->is_asleep(known->second->stopped_tid);
}

/// All that is copied while the target stands still.
std::vector<SampleEngine::StillStack> SampleEngine::read_still(const threads::StopGuard& guard,
                                                               std::span<const pid_t> asleep) {
    watch_->read_still();
    std::vector<StillStack> reads(watch_->threads().size());
    for (std::size_t i = 0; i < reads.size(); ++i) {
        reads[i].sleeps = sleeps(watch_->threads()[i]);
        if (reads[i].sleeps) continue;
        reads[i].outcome = stacks_->read_still(watch_->threads()[i].address, reads[i].frames);
        if (!codes_->verify(reads[i].frames)) interner_->start_anew();
        codes_->load(reads[i].frames);
        if (!tasks_) continue;
        const RemoteAddr state = watch_->threads()[i].address;
        const RemoteAddr task = tasks_->running_task(state);
        TaskWatch::Known unknown;
        if (task) reads[i].task = tasks_->frame_of(state, task, unknown);
    }
    if (!native_) return reads;
    native_->begin();
    system_threads_.assign(asleep.begin(), asleep.end());
    for (const threads::StoppedThread& thread : guard.threads()) {
        system_threads_.push_back(thread.tid);
        if (!thread.stopped) continue;
        if (const auto registers = guard.registers(thread.tid))
            native_->add_thread(thread.tid, *registers);
    }
    native_->copy(watch_->threads());
    return reads;
}

/// One system thread may run in several interpreters; each of its thread states has all of its
/// stack.
void SampleEngine::intern_native(std::vector<StillStack>& reads, std::uint64_t now_ns,
                                 model::Batch& batch, model::SamplerStats& stats) {
    std::vector<RemoteAddr> interpreters;
    for (const auto& one : watch_->interpreters()) interpreters.push_back(one.address);
    native_->catch_up(interpreters, now_ns);
    std::unordered_map<std::int32_t, std::vector<std::size_t>> by_tid;
    std::set<std::pair<std::size_t, std::uint64_t>> seen;
    for (std::size_t i = 0; i < reads.size(); ++i) {
        const cpython::ThreadState& state = watch_->threads()[i];
        if (reads[i].sleeps) {
            by_tid[order_[i]->stopped_tid];
            if (!order_[i]->is_whole) ++stats.partly_merged;
            continue;
        }
        std::int32_t tid = identities_.of(indices_[i]).tid;
        // Threads that live for less than a sample are known by their registers only.
        if (const auto stopped = native_->tid_of(state.python_thread_id)) tid = *stopped;
        // A thread that has not begun to run bears its creator's id; see match_threads.
        if (!seen.emplace(state.interpreter, state.python_thread_id).second) tid = 0;
        // Of whom it is not known, the Python frames alone are shown.
        by_tid[tid != 0 ? tid : -static_cast<std::int32_t>(i) - 1].push_back(i);
    }
    for (const auto& [tid, mine] : by_tid) {
        if (mine.empty()) continue;
        std::vector<NativeSampling::State> states;
        for (const std::size_t i : mine) {
            states.push_back({.address = watch_->threads()[i].address,
                              .frames = reads[i].frames,
                              .task = reads[i].task});
        }
        const auto interned = native_->intern(tid, states);
        for (const std::size_t i : mine) {
            order_[i]->stack.entries.assign(1, {.stack = interned.stack});
            order_[i]->stopped_tid = std::max(tid, 0);
            order_[i]->is_whole = interned.is_whole;
            if (!interned.is_whole) ++stats.partly_merged;
        }
        remember_sleepers(tid, mine, reads);
    }
    if (!options_.native->all_threads) return;
    std::erase_if(system_threads_, [&by_tid](std::int32_t tid) { return by_tid.contains(tid); });
    record_unknown_threads(reads, now_ns, batch, stats);
}

/// `states` are those on the thread, by their places in `reads`; their frames are used up.
void SampleEngine::remember_sleepers(std::int32_t tid, std::span<const std::size_t> states,
                                     std::vector<StillStack>& reads) {
    const StackCopies::Thread* copied = native_->copied(tid);
    if (copied == nullptr) return;
    std::vector<SleepWatch::State> known;
    for (const std::size_t i : states) {
        known.push_back({watch_->threads()[i].address, std::move(reads[i].frames)});
    }
    const std::uint64_t below = copied->registers.sp() - copied->begin;
    const auto stack = copied->bytes.subspan(std::min<std::size_t>(below, copied->bytes.size()));
    sleep_watch_->remember(tid, copied->registers, stack, std::move(known));
}

/// Threads that no interpreter knows: those of `system_threads_`.
void SampleEngine::record_unknown_threads(std::vector<StillStack>& reads, std::uint64_t now_ns,
                                          model::Batch& batch, model::SamplerStats& stats) {
    std::unordered_map<std::int32_t, std::unique_ptr<TrackedThread>> known;
    known.swap(unknown_threads_);
    std::vector<target::ThreadInfo> infos;  // Read when one is new.
    for (const std::int32_t tid : system_threads_) {
        auto& thread = unknown_threads_[tid];
        if (const auto place = known.find(tid); place != known.end()) {
            thread = std::move(place->second);
        } else {
            if (infos.empty()) infos = target_->threads().value_or(infos);
            model::SampledThread who{
                .pid = target_->pid(), .tid = tid, .interpreter_id = model::kNoInterpreter};
            for (const target::ThreadInfo& info : infos) {
                if (info.tid == tid) who.name = info.name.value_or("");
            }
            thread = std::make_unique<TrackedThread>();
            thread->index = identities_.add_known(std::move(who));
            thread->last_ns = previous_ns_ != 0 ? previous_ns_ : now_ns;
        }
        if (!sleep_watch_->is_asleep(tid)) {
            const auto interned = native_->intern(tid, {});
            thread->stack.entries.assign(1, {.stack = interned.stack});
            thread->is_whole = interned.is_whole;
            remember_sleepers(tid, {}, reads);
        }
        ++stats.attempted;
        ++stats.taken;
        if (!thread->is_whole) ++stats.partly_merged;
        add_sample(*thread, 0, now_ns, batch);
    }
}

}  // namespace pystack::capture
