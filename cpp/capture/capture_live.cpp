#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <optional>
#include <set>
#include <thread>
#include <tuple>
#include <utility>

#include "capture/capture.h"
#include "capture/reading.h"
#include "capture/snapshot_builder.h"
#include "target/live_target.h"
#include "threads/cpu_follower.h"
#include "threads/right_of_way.h"

namespace pystack::capture {

namespace {

using cpython::RawFrame;
using Clock = std::chrono::steady_clock;

/// A proof takes microseconds; a thread that changes its stack all the time needs a few of them.
constexpr int kProofAttempts = 200;
/// Stops of one dump: again when a thread was caught between two frames.
constexpr int kStops = 5;
constexpr auto kBetweenStops = std::chrono::milliseconds(1);
/// A stack that looks cut may be that of a thread which waits for a CPU at an unlucky instruction.
constexpr auto kLookAgain = std::chrono::milliseconds(5);
/// Whoever looks so for that long does begin with a generator.
constexpr auto kBelief = std::chrono::milliseconds(400);
/// How long a non-stop dump tries for one thread before it says that the stack could not be proved.
constexpr auto kProofBudget = std::chrono::milliseconds(1000);
/// Walks of the thread list until two agree.
constexpr int kListAttempts = 20;
/// A thread that waits for the GIL wakes every switch interval and runs for some microseconds. One
/// that has run for longer than this while it was looked at runs indeed. In a virtual machine the
/// time counts, too, for which the hypervisor took the CPU away.
constexpr std::uint64_t kAwakeNs = 4'000'000;
constexpr auto kWaitPause = std::chrono::microseconds(50);
/// How long all such looks may take: a thread that wakes on a busy machine waits for a CPU first.
constexpr auto kWaitBudget = std::chrono::milliseconds(500);
constexpr int kHighestPriority = -20;

using Calls = std::unordered_map<std::int32_t, threads::Syscall>;  ///< By tid.

/// What two proofs of one thread have seen is believed. A program that comes round within the few
/// microseconds of one proof can look the same at both of its ends, with another call in between;
/// that it does so twice with the same wrong call is so rare that it has not been seen.
class SeenCalls {
  public:
    /// Notes the calls of a stack. True when each has been seen before.
    bool confirm(std::span<const RawFrame> innermost_first) {
        std::set<Call> calls;
        for (std::size_t i = 1; i < innermost_first.size(); ++i) {
            const RawFrame& caller = innermost_first[i];
            calls.insert({caller.code, caller.instruction, innermost_first[i - 1].code});
        }
        bool all_seen = true;
        for (const Call& call : calls) all_seen &= !seen_.insert(call).second;
        return all_seen;
    }

  private:
    using Call = std::tuple<RemoteAddr, std::uint64_t, RemoteAddr>;  ///< Caller, where, callee.
    std::set<Call> seen_;
};

/// The steps of a live reading in the order in which they happen.
class LiveCapture {
  public:
    LiveCapture(target::LiveTarget& target, const cpython::Runtime& runtime,
                const CaptureOptions& options)
        : target_(target), reading_(target, runtime, options.max_depth) {
        if (options.locals) locals_.emplace(target.memory(), runtime.layout, *options.locals);
    }

    void use(std::unique_ptr<NativeCapture> native) { native_ = std::move(native); }

    Result<void> read(bool stop) {
        begin_ = std::chrono::system_clock::now().time_since_epoch();
        stop_ = stop;
        auto read = stop ? read_stopped() : read_moving();
        if (!read) return fail(std::move(read).error());
        if (reading_.walked.interpreters.empty()) {
            if (!target_.alive()) return fail(exited());
            return fail(reading_.walked.problem.value_or(no_interpreter(target_)));
        }
        return {};
    }

    /// After read(), and after all that it may have left stopped goes on: it can take long.
    model::Snapshot snapshot() {
        if (native_) native_->merge(reading_);
        model::Snapshot snapshot = build_snapshot(reading_, native_.get());
        snapshot.time_ns = std::chrono::duration_cast<std::chrono::nanoseconds>(begin_).count();
        snapshot.stopped = stop_;
        snapshot.stop_ns = stop_ns_;
        snapshot.was_stopped = was_stopped_;
        snapshot.attempts = attempts_;
        snapshot.problems.insert(snapshot.problems.end(), problems_.begin(), problems_.end());
        return snapshot;
    }

  private:
    Error exited() const {
        return Error{.code = ErrorCode::kTargetExited,
                     .what = "target exited",
                     .detail = "process " + std::to_string(target_.pid()) +
                               " went away before it could be read"};
    }

    // --- with the target stopped
    // -------------------------------------------------------------------

    Result<void> read_stopped() {
        rehearse();
        // Scheduler states and names, as they are without us: a stopped thread only says "traced".
        if (auto infos = target_.threads()) reading_.infos = std::move(*infos);
        const Calls calls_before = blocked_calls();

        for (int stops = 1;; ++stops) {
            PYSTACK_TRY(guard, target_.stop());
            std::optional<threads::RightOfWay> right_of_way(std::in_place);
            target_.use_registers_of(&guard);
            reading_.read_still();
            if (locals_ && stops == 1) locals_->copy(reading_);
            if (locals_ && stops > 1) locals_->read(reading_);
            read_registers(guard);
            if (native_) native_->copy_stacks(reading_.walked.threads);
            target_.use_registers_of(nullptr);
            guard.release();
            right_of_way.reset();
            stop_ns_ = stop_ns_.value_or(0) + guard.stop_time().count();
            was_stopped_ = guard.was_stopped();
            const bool caught = caught_between_frames();
            // Values that were not there at the rehearsal take a stop that lasts until they are
            // rendered.
            const bool complete = !locals_ || stops > 1 || (!caught && locals_->render(reading_));
            if ((!caught && complete) || stops == kStops) {
                report_unstopped(guard);
                break;
            }
            reading_.clear();
            if (native_) native_->clear();
            std::this_thread::sleep_for(kBetweenStops);
        }
        reading_.match();
        look_for_waiters(calls_before);
        return {};
    }

    /// A thread was stopped in the few instructions in which its frames are being linked.
    bool caught_between_frames() const {
        return std::any_of(reading_.threads.begin(), reading_.threads.end(),
                           [this](const auto& thread) {
                               const auto& problem = thread.outcome.problem;
                               return (problem && problem->code == ErrorCode::kCorruptData) ||
                                      reading_.codes.looks_cut(thread.frames);
                           });
    }

    /// Reads everything once while the target runs, torn as it may be: the code objects that are
    /// found now need not be copied while it stands still, only compared.
    void rehearse() {
        const auto walked = cpython::walk_interpreters(target_.memory(), reading_.runtime);
        std::vector<RawFrame> frames;
        for (const cpython::ThreadState& state : walked.threads) {
            reading_.stacks.read_still(state.address, frames);
            reading_.codes.load(frames);
            if (locals_) locals_->rehearse(reading_, frames);
        }
    }

    void read_registers(const threads::StopGuard& guard) {
        for (const threads::StoppedThread& thread : guard.threads()) {
            if (!thread.stopped) continue;
            const auto registers = guard.registers(thread.tid);
            if (!registers) continue;
            reading_.thread_pointers[thread.tid] = registers->thread_pointer();
            if (native_) native_->add_thread(thread.tid, *registers);
            if (const auto call = registers->syscall()) reading_.calls[thread.tid] = *call;
        }
    }

    void report_unstopped(const threads::StopGuard& guard) {
        for (const threads::StoppedThread& thread : guard.threads()) {
            if (thread.stopped) continue;
            problems_.push_back("thread " + std::to_string(thread.tid) +
                                " sleeps in the kernel and could not be stopped");
        }
    }

    Calls blocked_calls() const {
        Calls calls;
        for (const target::ThreadInfo& info : reading_.infos) {
            if (const auto call = target_.blocked_syscall(info.tid)) calls[info.tid] = *call;
        }
        return calls;
    }

    /// A thread that waits for the GIL wakes every switch interval, and when it is handed over. One
    /// that was found awake without the GIL waits if it did so just before, does so a moment later
    /// without having run for long, or has the GIL by then.
    void look_for_waiters(const Calls& calls_before) {
        const auto deadline = Clock::now() + kWaitBudget;
        for (ThreadReading& thread : reading_.threads) {
            const auto& gil = reading_.gils[thread.state.interpreter];
            if (!thread.info || thread.call || !gil || !gil->enabled) continue;
            if (gil->locked && gil->holder == thread.state.address) continue;
            const std::int32_t tid = reading_.infos[*thread.info].tid;
            const auto before = calls_before.find(tid);
            if (before != calls_before.end() &&
                cpython::gil_state(*gil, thread.state.address, before->second) ==
                    model::GilState::kWaits) {
                thread.call = before->second;
                continue;
            }
            const std::uint64_t ran_before = target_.run_time_ns(tid).value_or(0);
            do {
                thread.call = target_.blocked_syscall(tid);
                thread.got_gil = holds_gil(thread.state);
                if (thread.call || thread.got_gil) break;
                std::this_thread::sleep_for(kWaitPause);
            } while (Clock::now() < deadline &&
                     target_.run_time_ns(tid).value_or(0) - ran_before < kAwakeNs);
        }
    }

    bool holds_gil(const cpython::ThreadState& state) const {
        const auto gil = cpython::read_gil(target_.memory(), reading_.runtime,
                                           reading_.walked.interpreters[state.interpreter].address);
        return gil && gil->locked && gil->holder == state.address;
    }

    // --- with the target running
    // -------------------------------------------------------------------

    Result<void> read_moving() {
        reading_.walked =
            cpython::walk_moving_interpreters(target_.memory(), reading_.runtime, kListAttempts);
        if (auto infos = target_.threads()) reading_.infos = std::move(*infos);
        was_stopped_ =
            !reading_.infos.empty() &&
            std::all_of(reading_.infos.begin(), reading_.infos.end(),
                        [](const target::ThreadInfo& info) { return info.run_state == 'T'; });
        attempts_ = 0;
        for (const cpython::ThreadState& state : reading_.walked.threads) {
            reading_.threads.emplace_back().state = state;
        }
        reading_.match();
        for (ThreadReading& thread : reading_.threads) {
            prove(thread);
            attempts_ += thread.outcome.attempts;
        }
        follower_.leave();
        reading_.read_gils();
        read_names_twice();
        reading_.calls = blocked_calls();
        reading_.match();
        look_for_waiters({});
        return {};
    }

    /// What changes faster than it can be read stands still while we have its CPU. Else it would be
    /// met only where it lasts.
    void go_where_it_runs(const ThreadReading& thread) {
        if (!thread.info) return;
        const target::ThreadInfo& info = reading_.infos[*thread.info];
        if (info.run_state == 'R') follower_.follow(target_.pid(), info.tid);
    }

    /// The names belong to the stack only if the code objects were known before it was proved and
    /// are still the same after: then they were so at the moment of the proof.
    void prove(ThreadReading& thread) {
        const auto begin = Clock::now();
        const auto deadline = begin + kProofBudget;
        cpython::ReadPlan plan;
        SeenCalls calls;
        int attempts = 0;
        do {
            go_where_it_runs(thread);
            thread.outcome = reading_.stacks.read_moving(thread.state.address, plan, kProofAttempts,
                                                         thread.frames);
            attempts += thread.outcome.attempts;
            thread.outcome.attempts = attempts;
            if (thread.outcome.end == model::StackEnd::kTorn) continue;
            if (thread.outcome.end == model::StackEnd::kUnreadable) return;
            const bool known = all_known(thread.frames);
            reading_.codes.load(thread.frames);
            if (!known || !reading_.codes.instructions_fit(thread.frames)) continue;
            if (reading_.codes.looks_cut(thread.frames) && Clock::now() < begin + kBelief) {
                std::this_thread::sleep_for(kLookAgain);
                continue;
            }
            if (!calls.confirm(thread.frames)) continue;
            read_exceptions_of_still_thread(thread, plan);
            if (reading_.codes.verify(thread.frames)) return;
        } while (Clock::now() < deadline);
        thread.outcome.end = model::StackEnd::kTorn;
    }

    bool all_known(std::span<const RawFrame> frames) const {
        return std::all_of(frames.begin(), frames.end(), [this](const RawFrame& frame) {
            return frame.shim || reading_.codes.find(frame.code) != nullptr;
        });
    }

    /// Exceptions are objects that the thread itself creates and frees: what is read of them counts
    /// only if the thread has not moved meanwhile.
    void read_exceptions_of_still_thread(ThreadReading& thread, cpython::ReadPlan& plan) {
        const auto exceptions = cpython::read_exceptions(target_.memory(), reading_.runtime.layout,
                                                         thread.state.address);
        std::vector<RawFrame> again;
        const auto outcome =
            reading_.stacks.read_moving(thread.state.address, plan, kProofAttempts, again);
        const bool still = outcome.end == model::StackEnd::kComplete && again == thread.frames;
        thread.exceptions = still ? exceptions : cpython::ExceptionState{};
    }

    /// Names come from dicts that the target may be changing: only what two readings agree on
    /// counts.
    void read_names_twice() {
        reading_.read_names();
        const std::vector<ThreadNames> first = std::exchange(reading_.names, {});
        reading_.read_names();
        for (std::size_t i = 0; i < reading_.names.size(); ++i) {
            std::erase_if(reading_.names[i], [&](const auto& item) {
                const auto before = first[i].find(item.first);
                return before == first[i].end() || before->second != item.second;
            });
        }
    }

    target::LiveTarget& target_;
    Reading reading_;
    std::optional<LocalsCapture> locals_;
    std::unique_ptr<NativeCapture> native_;
    threads::CpuFollower follower_;
    std::chrono::system_clock::duration begin_{};
    bool stop_ = true;
    std::optional<std::int64_t> stop_ns_;
    bool was_stopped_ = false;
    int attempts_ = 1;
    std::vector<std::string> problems_;
};

/// A reading, and what it refers to.
struct Captured {
    std::unique_ptr<target::LiveTarget> target;
    cpython::Runtime runtime;
    std::unique_ptr<LiveCapture> capture;
};

Result<std::unique_ptr<Captured>> capture_here(int pid, const CaptureOptions& options) {
    if (options.locals && !options.stop) {
        return fail(Error{.code = ErrorCode::kInvalidArgument,
                          .what = "variables can only be read of a stopped process"});
    }
    if (options.native && !options.stop) {
        return fail(Error{.code = ErrorCode::kInvalidArgument,
                          .what = "native frames can only be read of a stopped process"});
    }
    auto captured = std::make_unique<Captured>();
    PYSTACK_TRY(target, target::LiveTarget::open(pid));
    captured->target = std::move(target);
    PYSTACK_TRY(runtime,
                cpython::locate_runtime(*captured->target, {.exhaustive = options.exhaustive}));
    captured->runtime = std::move(runtime);
    captured->capture =
        std::make_unique<LiveCapture>(*captured->target, captured->runtime, options);
    if (options.native) {
        PYSTACK_TRY(native, NativeCapture::create(*captured->target, captured->runtime,
                                                  options.native->of_process(pid)));
        captured->capture->use(std::move(native));
    }
    PYSTACK_CHECK(captured->capture->read(options.stop));
    return captured;
}

}  // namespace

Result<model::Snapshot> capture_live(int pid, const CaptureOptions& options) {
    Result<std::unique_ptr<Captured>> captured =
        fail(Error{.code = ErrorCode::kSystem, .what = "capture did not run"});
    std::thread worker([&] {
        // The target must not wait while others have the CPU that we need. Refused without
        // privileges.
        ::setpriority(PRIO_PROCESS, static_cast<id_t>(::gettid()), kHighestPriority);
        captured = capture_here(pid, options);
    });
    worker.join();
    if (!captured) return fail(std::move(captured).error());
    return (*captured)->capture->snapshot();
}

}  // namespace pystack::capture
