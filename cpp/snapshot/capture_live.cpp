#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <optional>
#include <thread>
#include <utility>

#include "base/guard.h"
#include "process/own_tid.h"
#include "process/proc_files.h"
#include "process/realtime_priority.h"
#include "snapshot/capture.h"
#include "snapshot/gil_waiters.h"
#include "snapshot/kernel_facts.h"
#include "snapshot/raw_snapshot.h"
#include "snapshot/running_capture.h"
#include "snapshot/snapshot_builder.h"
#include "snapshot/still_capture.h"
#include "snapshot/still_threads.h"
#include "snapshot/task_circles.h"
#include "snapshot/tasks_capture.h"
#include "snapshot/waits_capture.h"
#include "target/live_target.h"

namespace pystack::snapshot {

namespace {

using cpython::RawFrame;
using Clock = std::chrono::steady_clock;

/// Stops of one dump: again when a thread was caught between two frames.
constexpr int kStops = 5;
constexpr auto kBetweenStops = std::chrono::milliseconds(1);
/// No other stop after so long: what takes that long to read is not caught between two frames.
constexpr auto kStopsBudget = std::chrono::seconds(1);
/// Frames of one stack that are kept of the reading before the stop.
constexpr std::size_t kMostRehearsed = 4000;

Error exited(const target::LiveTarget& target) {
    return Error{
        .code = ErrorCode::kTargetExited,
        .what = "target exited",
        .detail = "process " + std::to_string(target.pid()) + " went away before it could be read"};
}

/// What time.monotonic() returns.
double monotonic_s() {
    return std::chrono::duration<double>(Clock::now().time_since_epoch()).count();
}

/// The steps of a live reading in the order in which they happen.
class LiveCapture {
  public:
    LiveCapture(target::LiveTarget& target, const cpython::Runtime& runtime,
                const CaptureOptions& options)
        : target_(target),
          raw_(target, runtime, options.max_depth),
          waits_(target.memory(), runtime.layout, raw_.codes) {
        if (options.locals) locals_.emplace(target.memory(), runtime.layout, *options.locals);
        if (options.tasks) tasks_.emplace(target.memory(), runtime.layout, raw_.codes);
    }

    void use(std::unique_ptr<NativeCapture> native) { native_ = std::move(native); }
    /// If there is no interpreter, native stacks do. `reason`: it was not found.
    void accept_no_python(std::optional<Error> reason) {
        without_python_ = true;
        reason_ = std::move(reason);
    }

    Result<void> read(bool stop) {
        begin_ = std::chrono::system_clock::now().time_since_epoch();
        stop_ = stop;
        if (process::shares_namespace(target_.pid(), "time")) raw_.monotonic_s = monotonic_s();
        auto read = stop ? read_stopped() : read_running();
        if (!read) return fail(std::move(read).error());
        if (raw_.walked.interpreters.empty() && native_ && without_python_) {
            if (!reason_) reason_ = no_interpreter(target_);
            native_->include_all_threads();
            return {};
        }
        if (raw_.walked.interpreters.empty()) {
            if (!target_.alive()) return fail(exited(target_));
            if (target_.stop_was_cut()) {
                return fail(Error{.code = ErrorCode::kSystem,
                                  .what = "the process could not be read in time"});
            }
            return fail(raw_.walked.problem.value_or(no_interpreter(target_)));
        }
        return {};
    }

    /// After read(), and after all that it may have left stopped goes on: it can take long.
    model::Snapshot snapshot() {
        if (native_) native_->merge(raw_);
        model::Snapshot snapshot = reason_ ? build_snapshot_without_python(raw_, *native_, *reason_)
                                           : build_snapshot(raw_, native_.get());
        snapshot.time_ns = std::chrono::duration_cast<std::chrono::nanoseconds>(begin_).count();
        snapshot.stopped = stop_;
        // Of a target that runs, tasks are not read at one moment.
        if (stop_ && snapshot.tasks) snapshot.task_deadlocks = find_task_deadlocks(*snapshot.tasks);
        snapshot.stop_ns = stop_ns_;
        snapshot.was_stopped = was_stopped_;
        snapshot.attempts = attempts_;
        snapshot.problems.insert(snapshot.problems.end(), problems_.begin(), problems_.end());
        return snapshot;
    }

  private:
    // --- with the target stopped
    // -------------------------------------------------------------------

    Result<void> read_stopped() {
        rehearse();
        // Scheduler states and names, as they are without us: a stopped thread only says "traced".
        if (auto infos = target_.threads()) raw_.infos = std::move(*infos);
        const Calls calls_before = blocked_calls();
        const auto last_stop = Clock::now() + kStopsBudget;

        for (int stops = 1;; ++stops) {
            Result<void> copied;
            // When the thread that traces ends, the kernel lets go whatever it could not release.
            std::thread([&] { copied = guarded([&] { return stop_and_copy(stops); }); }).join();
            target_.forget_late_threads();
            PYSTACK_CHECK(std::move(copied));
            const bool cut = target_.stop_was_cut();
            const bool caught = cut || caught_between_frames();
            // Values that were not there at the rehearsal take a stop that lasts until they are
            // rendered.
            const bool complete = stops > 1 || (!caught && read_copies());
            const bool is_last = stops == kStops || (stops > 1 && Clock::now() > last_stop);
            if ((!caught && complete) || is_last || (cut && stops > 1)) {
                if (cut) problems_.push_back("the process was released before everything was read");
                break;
            }
            raw_.clear();
            if (native_) native_->clear();
            std::this_thread::sleep_for(kBetweenStops);
        }
        report_unstopped();
        raw_.match();
        find_restarted_calls(target_, raw_);
        waits_.find(raw_);
        add_kernel_facts(target_, raw_);
        GilWaiters(target_, raw_).look(calls_before);
        return {};
    }

    Result<void> stop_and_copy(int stops) {
        PYSTACK_TRY(guard, target_.stop_patiently());
        target_.limits().renew_steps(WorkLimits::kStopSteps);
        target_.use_registers_of(&guard);
        raw_.read_stopped();
        waits_.copy(raw_);
        if (tasks_ && stops == 1) tasks_->copy(raw_);
        if (tasks_ && stops > 1) tasks_->read(raw_);
        if (locals_ && stops == 1) locals_->copy(raw_);
        if (locals_ && stops > 1) locals_->read(raw_);
        read_registers(guard);
        if (native_) native_->copy_stacks(raw_.walked.threads);
        target_.use_registers_of(nullptr);
        guard.release();
        target_.limits().renew_steps();
        stop_ns_ = stop_ns_.value_or(0) + guard.stop_time().count();
        was_stopped_ = guard.was_stopped();
        unstopped_.clear();
        for (const process::StoppedThread& thread : guard.threads()) {
            if (!thread.stopped) unstopped_.push_back(thread.tid);
        }
        return {};
    }

    /// What was copied during the stop. False: something is missing from it.
    bool read_copies() {
        const bool has_tasks = !tasks_ || tasks_->read_copy(raw_);
        return (!locals_ || locals_->render(raw_)) && has_tasks;
    }

    /// A thread was stopped in the few instructions in which its frames are being linked.
    bool caught_between_frames() const {
        return std::any_of(raw_.threads.begin(), raw_.threads.end(), [this](const auto& thread) {
            const auto& problem = thread.outcome.problem;
            return (problem && problem->code == ErrorCode::kCorruptData) ||
                   raw_.codes.is_truncated(thread.frames);
        });
    }

    /// Reads everything once while the target runs, torn as it may be: the code objects that are
    /// found now need not be copied while it stands still, only compared.
    void rehearse() {
        const auto walked = cpython::walk_interpreters(
            target_.memory(), raw_.runtime, cpython::most_thread_states(target_.thread_count()));
        std::vector<RawFrame> frames;
        std::size_t left = raw_.most_frames();
        raw_.walked = walked;
        for (const cpython::ThreadState& state : walked.threads) {
            raw_.stacks.read_stopped(state.address, frames, left);
            left -= frames.size();
            raw_.codes.load(frames);
            if (locals_) locals_->rehearse(raw_, frames);
            if (frames.size() > kMostRehearsed) frames.resize(kMostRehearsed);
            RawThread& thread = raw_.threads.emplace_back();
            thread.state = state;
            thread.frames = frames;
        }
        // Tasks can hold what threads wait for.
        if (tasks_) tasks_->rehearse(raw_);
        rehearse_waits();
        if (locals_) locals_->rehearse_tasks(raw_);
        raw_.clear();
    }

    void rehearse_waits() {
        raw_.read_gils();
        if (auto infos = target_.threads()) raw_.infos = std::move(*infos);
        raw_.calls = blocked_calls();
        raw_.match();
        waits_.rehearse(raw_);
    }

    void read_registers(const process::StopGuard& guard) {
        for (const process::StoppedThread& thread : guard.threads()) {
            if (!thread.stopped) continue;
            const auto registers = guard.registers(thread.tid);
            if (!registers) continue;
            raw_.thread_pointers[thread.tid] = registers->thread_pointer();
            if (native_) native_->add_thread(thread.tid, *registers);
            const auto call = registers->syscall();
            if (call) raw_.calls[thread.tid] = *call;
            if (call && call->number == arch::kRestartSyscall)
                raw_.restarts[thread.tid] = registers->pc();
        }
    }

    void report_unstopped() {
        for (const pid_t tid : unstopped_) {
            problems_.push_back("thread " + std::to_string(tid) +
                                " is in uninterruptible sleep (D) and could not be stopped;"
                                " its stack may be torn");
        }
    }

    Calls blocked_calls() const {
        Calls calls;
        for (const target::ThreadInfo& info : raw_.infos) {
            if (const auto call = target_.blocked_syscall(info.tid)) calls[info.tid] = *call;
        }
        return calls;
    }

    // --- with the target running
    // -------------------------------------------------------------------

    Result<void> read_running() {
        RunningCapture running(target_, raw_);
        PYSTACK_CHECK(running.read());
        was_stopped_ = running.was_stopped();
        attempts_ = running.attempts();
        read_waits();
        problems_ =
            StillCapture(target_, raw_, tasks_ ? &*tasks_ : nullptr, locals_ ? &*locals_ : nullptr)
                .read();
        raw_.calls = blocked_calls();
        raw_.match();
        GilWaiters waiters(target_, raw_);
        waiters.read_futexes();
        waiters.look({});
        return {};
    }

    void read_waits() {
        StillThreads still(target_, raw_);
        find_restarted_calls(target_, raw_);
        waits_.read(raw_);
        still.check(raw_);
        add_kernel_facts(target_, raw_);
        for (RawThread& thread : raw_.threads) thread.call.reset();
    }

    target::LiveTarget& target_;
    RawSnapshot raw_;
    WaitsCapture waits_;
    std::optional<LocalsCapture> locals_;
    std::optional<TasksCapture> tasks_;
    std::unique_ptr<NativeCapture> native_;
    bool without_python_ = false;
    std::optional<Error> reason_;  ///< Why there is no Python, if there is none.
    std::chrono::system_clock::duration begin_{};
    bool stop_ = true;
    std::optional<std::int64_t> stop_ns_;
    bool was_stopped_ = false;
    int attempts_ = 1;
    std::vector<pid_t> unstopped_;  ///< In the last stop.
    std::vector<std::string> problems_;
};

/// A reading, and what it refers to.
struct Captured {
    std::unique_ptr<target::LiveTarget> target;
    cpython::Runtime runtime;
    std::unique_ptr<LiveCapture> capture;
};

Result<std::unique_ptr<Captured>> capture_here(int pid, const CaptureOptions& options,
                                               bool raise_priority) {
    if (options.native && !options.stop) {
        return fail(Error{.code = ErrorCode::kInvalidArgument,
                          .what = "native frames can only be read if the process is stopped"});
    }
    auto captured = std::make_unique<Captured>();
    PYSTACK_TRY(target, target::LiveTarget::open(pid, options.limits));
    captured->target = std::move(target);
    captured->target->set_stop_rules({.clock = {.raise_priority = raise_priority}, .limits = {}});
    auto runtime = cpython::locate_runtime(*captured->target, {.exhaustive = options.exhaustive});
    std::optional<Error> reason;
    if (runtime) {
        captured->runtime = *std::move(runtime);
    } else {
        // One that is being killed may lose its memory in between.
        if (!captured->target->alive()) return fail(exited(*captured->target));
        reason = std::move(runtime).error();
        if (reason->code != ErrorCode::kNotPython || !options.native_without_python)
            return fail(*std::move(reason));
    }
    captured->capture =
        std::make_unique<LiveCapture>(*captured->target, captured->runtime, options);
    const auto& wanted = reason ? options.native_without_python : options.native;
    if (wanted) {
        PYSTACK_TRY(native,
                    NativeCapture::create(*captured->target, captured->runtime,
                                          wanted->with_debug_root(captured->target->files())));
        captured->capture->use(std::move(native));
    }
    if (options.native_without_python) captured->capture->accept_no_python(std::move(reason));
    PYSTACK_CHECK(captured->capture->read(options.stop));
    return captured;
}

}  // namespace

Result<model::Snapshot> capture_live(int pid, const CaptureOptions& options) {
    Result<std::unique_ptr<Captured>> captured =
        fail(Error{.code = ErrorCode::kSystem, .what = "capture did not run"});
    const bool raise_priority = options.raise_priority && process::has_ordinary_priority();
    std::thread worker([&] {
        // The target must not wait while others have the CPU that we need.
        if (raise_priority) process::raise_niceness(process::own_tid());
        captured = guarded([&] { return capture_here(pid, options, raise_priority); });
    });
    worker.join();
    if (options.limits->cancelled()) return fail(cancelled());
    if (!captured) return fail(std::move(captured).error());
    model::Snapshot snapshot = (*captured)->capture->snapshot();
    if (options.limits->cancelled()) return fail(cancelled());
    return snapshot;
}

}  // namespace pystack::snapshot
