#include "sampling/stopped_threads.h"

#include <algorithm>
#include <thread>
#include <utility>

#include "base/nanoseconds.h"

namespace pystack::sampling {

namespace {

using model::StackEnd;

constexpr int kStops = 4;
constexpr auto kBetweenStops = std::chrono::microseconds(50);

}  // namespace

StoppedThreads::Outcome StoppedThreads::read(pid_t tid, std::span<const std::size_t> states,
                                             std::chrono::milliseconds patience,
                                             NativeSampling* native, model::SamplerStats& stats) {
    WorkLimits& limits = target_.limits();
    for (int stops = 1;; ++stops) {
        const auto stood_before = target_.standing_time();
        auto guard = tid != 0 ? target_.stop_thread(tid, patience) : target_.stop();
        if (!guard) {
            stats.count_stop(to_ns(target_.standing_time() - stood_before));
            if (guard.error().code == ErrorCode::kTargetExited) return read_ended(states, native);
            error_ = std::move(guard).error();
            return Outcome::kRefused;
        }
        const process::StoppedThread& first = guard->threads().front();
        if (tid != 0 && !first.stopped && !first.uninterruptible) return Outcome::kNotYet;
        limits.renew_steps(WorkLimits::kStopSteps);
        read_states(states);
        if (native != nullptr) copy_native_stacks(*guard, tid, states, *native);
        guard->release();
        limits.renew_steps();
        stats.count_stop(to_ns(guard->standing_time()));
        if (target_.stop_was_cut()) {
            error_ = {.code = ErrorCode::kSystem, .what = "the stop took too long"};
            return Outcome::kRefused;
        }
        const bool is_whole = std::none_of(reads_.begin(), reads_.end(), [](const StateRead& read) {
            return is_lost(read.outcome.end);
        });
        if (is_whole || stops == kStops) return Outcome::kRead;
        std::this_thread::sleep_for(kBetweenStops);
    }
}

/// A thread that ends deletes its states first. Those that it has left behind stay as they are.
StoppedThreads::Outcome StoppedThreads::read_ended(std::span<const std::size_t> states,
                                                   NativeSampling* native) {
    if (native != nullptr) native->begin();
    read_states(states);
    // Without a number of its own (3.6), it may be a later thread's at the same address.
    const auto is_known = [&](std::size_t state) {
        return program_.interpreters().threads()[state].unique_id != 0;
    };
    const bool left_some =
        std::ranges::any_of(reads_, &StateRead::is_listed) && std::ranges::all_of(states, is_known);
    return left_some ? Outcome::kRead : Outcome::kEnded;
}

void StoppedThreads::read_states(std::span<const std::size_t> states) {
    read_at_ns_ = monotonic_ns();
    cpython::CachedInterpreters& interpreters = program_.interpreters();
    const bool same_interpreters = interpreters.read_now();
    reads_.assign(states.size(), {});
    for (std::size_t i = 0; i < states.size(); ++i) {
        const cpython::ThreadState& state = interpreters.threads()[states[i]];
        StateRead& read = reads_[i];
        // Its thread stands still, so a state that is in the list now stays there.
        read.is_listed = same_interpreters && interpreters.is_listed(states[i]);
        if (!read.is_listed) continue;
        read.gil_bits = program_.gil_bits(state);
        read.outcome = program_.stacks().read_stopped(state.address, read.frames);
        if (!program_.codes().verify(read.frames)) program_.interner().start_anew();
        program_.codes().load(read.frames);
        // A stack without the frames whose code is unknown would be another one.
        if (const RemoteAddr unknown = program_.codes().first_unknown(read.frames))
            read.outcome = cpython::StackOutcome::unreadable(corrupt("code object", unknown));
        TaskNames* tasks = program_.tasks();
        if (tasks == nullptr) continue;
        const RemoteAddr task = tasks->running_task(state.address);
        TaskNames::Known unknown;
        if (task) read.task = tasks->frame_of(state.address, task, unknown);
    }
}

void StoppedThreads::copy_native_stacks(const process::StopGuard& guard, pid_t tid,
                                        std::span<const std::size_t> states,
                                        NativeSampling& native) const {
    native.begin();
    std::vector<cpython::ThreadState> copied;
    for (const std::size_t i : states) copied.push_back(program_.interpreters().threads()[i]);
    for (const process::StoppedThread& thread : guard.threads()) {
        if (!thread.stopped) continue;
        const auto registers = guard.registers(thread.tid);
        if (!registers) continue;
        const bool is_meant =
            tid != 0 || std::any_of(copied.begin(), copied.end(), [&](const auto& state) {
                return state.python_thread_id == registers->thread_pointer().value;
            });
        if (is_meant) native.add_thread(thread.tid, *registers);
    }
    native.copy(copied);
}

}  // namespace pystack::sampling
