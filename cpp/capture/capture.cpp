#include "capture/capture.h"

#include <algorithm>
#include <chrono>
#include <thread>
#include <unordered_map>

#include "capture/thread_matching.h"
#include "cpython/code_reader.h"
#include "cpython/exception_state.h"
#include "cpython/gil_state.h"
#include "cpython/interpreter_walker.h"
#include "cpython/runtime_locator.h"
#include "cpython/stack_reader.h"
#include "cpython/thread_names.h"
#include "target/live_target.h"

namespace pystack::capture {

namespace {

using cpython::CodeReader;
using cpython::RawFrame;
using cpython::StackReader;
using Clock = std::chrono::steady_clock;

/// A proof takes microseconds; a thread that changes its stack all the time needs a few of them.
constexpr int kProofAttempts = 200;
/// How long a non-stop dump tries for one thread before it says that the stack could not be proved.
constexpr auto kProofBudget = std::chrono::milliseconds(500);
/// Walks of the thread list until two agree.
constexpr int kListAttempts = 20;
/// Looks at a thread that may be between two waits for the GIL: it wakes every switch interval.
constexpr int kWaitLooks = 10;
constexpr auto kWaitPause = std::chrono::microseconds(50);

using ThreadNames = std::unordered_map<std::uint64_t, std::string>;

/// What is read of one thread state, before anything is looked up or decoded.
struct ThreadReading {
    cpython::ThreadState state;
    std::vector<RawFrame> frames;  ///< Innermost first.
    cpython::StackOutcome outcome;
    cpython::ExceptionState exceptions;
    std::optional<std::size_t> info;  ///< Index into Capture::infos_.
    std::optional<threads::Syscall> call;
};

/// One reading of one target: the steps in the order in which they happen.
class Capture {
  public:
    Capture(target::LiveTarget& target, const cpython::Runtime& runtime, const CaptureOptions& options)
        : target_(target),
          memory_(target.memory()),
          runtime_(runtime),
          options_(options),
          stacks_(target.memory(), runtime.layout, options.max_depth),
          codes_(target.memory(), runtime.layout) {}

    Result<model::Snapshot> run() {
        describe_target();
        auto read = options_.stop ? read_stopped() : read_moving();
        if (!read) return fail(std::move(read).error());
        if (walked_.interpreters.empty()) {
            if (!target_.alive()) return fail(exited());
            return fail(walked_.problem.value_or(cpython_gone()));
        }
        if (walked_.problem) {
            snapshot_.problems.push_back("the list of threads is not complete: " +
                                         walked_.problem->message());
        }
        build_interpreters();
        build_threads();
        return std::move(snapshot_);
    }

  private:
    Error exited() const {
        return Error{.code = ErrorCode::kTargetExited,
                     .what = "target exited",
                     .detail = "process " + std::to_string(target_.pid()) +
                               " went away before it could be read"};
    }

    Error cpython_gone() const {
        return Error{.code = ErrorCode::kNotPython,
                     .what = "no interpreter",
                     .detail = "process " + std::to_string(target_.pid()) +
                               " has a Python runtime but no interpreter: it is starting or has shut down"};
    }

    void describe_target() {
        const auto now = std::chrono::system_clock::now().time_since_epoch();
        snapshot_.time_ns = std::chrono::duration_cast<std::chrono::nanoseconds>(now).count();
        snapshot_.pid = target_.pid();
        snapshot_.namespace_pid = target_.namespace_pid();
        snapshot_.executable = target_.executable();
        snapshot_.command = target_.command();
        snapshot_.version = runtime_.version.to_string();
        snapshot_.free_threaded = runtime_.layout.free_threaded;
        snapshot_.debug = runtime_.layout.debug;
    }

    // --- with the target stopped -------------------------------------------------------------------

    Result<void> read_stopped() {
        rehearse();
        // Scheduler states and names, as they are without us: a stopped thread only says "traced".
        if (auto infos = target_.threads()) infos_ = std::move(*infos);
        calls_before_ = blocked_calls();

        PYSTACK_TRY(guard, target_.stop());
        target_.use_registers_of(&guard);
        walked_ = cpython::walk_interpreters(memory_, runtime_);
        for (const cpython::ThreadState& state : walked_.threads) {
            ThreadReading& reading = readings_.emplace_back();
            reading.state = state;
            reading.outcome = stacks_.read_still(state.address, reading.frames);
            reading.exceptions = cpython::read_exceptions(memory_, runtime_.layout, state.address);
        }
        const std::vector<RawFrame> frames = all_frames();
        codes_.verify(frames);
        codes_.load(frames);
        read_gils();
        read_names();
        read_registers(guard);
        target_.use_registers_of(nullptr);
        guard.release();

        snapshot_.stopped = true;
        snapshot_.stop_ns = guard.stop_time().count();
        snapshot_.was_stopped = guard.was_stopped();
        report_unstopped(guard);
        match();
        return {};
    }

    /// Reads everything once while the target runs, torn as it may be: the code objects and names that
    /// are found now need not be copied while it stands still, only compared.
    void rehearse() {
        walked_ = cpython::walk_interpreters(memory_, runtime_);
        std::vector<RawFrame> frames;
        for (const cpython::ThreadState& state : walked_.threads) {
            stacks_.read_still(state.address, frames);
            codes_.load(frames);
        }
    }

    std::vector<RawFrame> all_frames() const {
        std::vector<RawFrame> frames;
        for (const ThreadReading& reading : readings_) {
            frames.insert(frames.end(), reading.frames.begin(), reading.frames.end());
        }
        return frames;
    }

    void read_registers(const threads::StopGuard& guard) {
        for (const threads::StoppedThread& thread : guard.threads()) {
            if (!thread.stopped) continue;
            const auto registers = guard.registers(thread.tid);
            if (!registers) continue;
            thread_pointers_[thread.tid] = registers->thread_pointer();
            if (const auto call = registers->syscall()) calls_[thread.tid] = *call;
            known_calls_ = true;
        }
    }

    void report_unstopped(const threads::StopGuard& guard) {
        for (const threads::StoppedThread& thread : guard.threads()) {
            if (thread.stopped) continue;
            snapshot_.problems.push_back("thread " + std::to_string(thread.tid) +
                                         " sleeps in the kernel and could not be stopped");
        }
    }

    // --- with the target running -------------------------------------------------------------------

    Result<void> read_moving() {
        walked_ = cpython::walk_moving_interpreters(memory_, runtime_, kListAttempts);
        if (auto infos = target_.threads()) infos_ = std::move(*infos);
        snapshot_.attempts = 0;
        for (const cpython::ThreadState& state : walked_.threads) {
            ThreadReading& reading = readings_.emplace_back();
            reading.state = state;
            prove(reading);
            snapshot_.attempts += reading.outcome.attempts;
        }
        read_gils();
        read_names_twice();
        match();
        look_for_waiters();
        return {};
    }

    /// The names belong to the stack only if the code objects were known before it was proved and are
    /// still the same after: then they were so at the moment of the proof.
    void prove(ThreadReading& reading) {
        const auto deadline = Clock::now() + kProofBudget;
        cpython::ReadPlan plan;
        int attempts = 0;
        do {
            reading.outcome = stacks_.read_moving(reading.state.address, plan, kProofAttempts, reading.frames);
            attempts += reading.outcome.attempts;
            reading.outcome.attempts = attempts;
            if (reading.outcome.end == model::StackEnd::kTorn) continue;
            if (reading.outcome.end == model::StackEnd::kUnreadable) return;
            const bool known = all_known(reading.frames);
            codes_.load(reading.frames);
            if (!known || !codes_.instructions_fit(reading.frames)) continue;
            read_exceptions_of_still_thread(reading, plan);
            if (codes_.verify(reading.frames)) return;
        } while (Clock::now() < deadline);
        reading.outcome.end = model::StackEnd::kTorn;
    }

    bool all_known(std::span<const RawFrame> frames) const {
        return std::all_of(frames.begin(), frames.end(), [this](const RawFrame& frame) {
            return frame.shim || codes_.find(frame.code) != nullptr;
        });
    }

    /// Exceptions are objects that the thread itself creates and frees: what is read of them counts only
    /// if the thread has not moved meanwhile.
    void read_exceptions_of_still_thread(ThreadReading& reading, cpython::ReadPlan& plan) {
        const auto exceptions = cpython::read_exceptions(memory_, runtime_.layout, reading.state.address);
        std::vector<RawFrame> again;
        const auto outcome = stacks_.read_moving(reading.state.address, plan, 1, again);
        const bool still = outcome.end == reading.outcome.end && again == reading.frames &&
                           outcome.end == model::StackEnd::kComplete;
        reading.exceptions = still ? exceptions : cpython::ExceptionState{};
    }

    void look_for_waiters() {
        known_calls_ = true;
        for (ThreadReading& reading : readings_) {
            if (!reading.info) continue;
            const auto& gil = gils_[reading.state.interpreter];
            const std::int32_t tid = infos_[*reading.info].tid;
            for (int look = 0; look < kWaitLooks; ++look) {
                reading.call = target_.blocked_syscall(tid);
                // Blocked somewhere, or nobody to wait for: that is an answer. Running: it may be awake
                // between two waits.
                const bool may_wait = gil && gil->enabled && gil->locked && gil->holder != reading.state.address;
                if (reading.call || !may_wait) break;
                std::this_thread::sleep_for(kWaitPause);
            }
        }
    }

    // --- both --------------------------------------------------------------------------------------

    std::unordered_map<std::int32_t, threads::Syscall> blocked_calls() const {
        std::unordered_map<std::int32_t, threads::Syscall> calls;
        for (const target::ThreadInfo& info : infos_) {
            if (const auto call = target_.blocked_syscall(info.tid)) calls[info.tid] = *call;
        }
        return calls;
    }

    void read_gils() {
        for (const cpython::InterpreterState& interpreter : walked_.interpreters) {
            gils_.push_back(cpython::read_gil(memory_, runtime_, interpreter.address));
        }
    }

    void read_names() {
        for (const cpython::InterpreterState& interpreter : walked_.interpreters) {
            names_.push_back(
                cpython::read_thread_names(memory_, runtime_.layout, interpreter.address).value_or(ThreadNames{}));
        }
    }

    /// Names come from dicts that the target may be changing: only what two readings agree on counts.
    void read_names_twice() {
        read_names();
        const std::vector<ThreadNames> first = std::move(names_);
        names_.clear();
        read_names();
        for (std::size_t i = 0; i < names_.size(); ++i) {
            std::erase_if(names_[i], [&](const auto& item) {
                const auto before = first[i].find(item.first);
                return before == first[i].end() || before->second != item.second;
            });
        }
    }

    void match() {
        const auto matches =
            match_threads(walked_.threads, infos_, thread_pointers_, memory_);
        for (std::size_t i = 0; i < readings_.size(); ++i) {
            ThreadReading& reading = readings_[i];
            reading.info = matches[i];
            if (!reading.info) continue;
            const std::int32_t tid = infos_[*reading.info].tid;
            if (const auto call = calls_.find(tid); call != calls_.end()) {
                reading.call = call->second;
            } else if (const auto before = calls_before_.find(tid); before != calls_before_.end()) {
                // Not inside a call now. A thread that waits for the GIL wakes every switch interval: if
                // it was waiting just before the stop, it was caught awake between two waits.
                const auto& gil = gils_[reading.state.interpreter];
                const bool waited = gil && cpython::gil_state(*gil, reading.state.address, before->second) ==
                                               model::GilState::kWaits;
                if (waited && gil->locked) reading.call = before->second;
            }
        }
    }

    void build_interpreters() {
        for (const cpython::InterpreterState& interpreter : walked_.interpreters) {
            snapshot_.interpreters.push_back({.id = interpreter.id,
                                              .gc_collecting = interpreter.gc_collecting,
                                              .finalizing = interpreter.finalizing});
        }
        std::sort(snapshot_.interpreters.begin(), snapshot_.interpreters.end(),
                  [](const auto& a, const auto& b) { return a.id < b.id; });
    }

    void build_threads() {
        std::vector<std::pair<std::size_t, model::Thread>> threads;
        for (std::size_t i = 0; i < readings_.size(); ++i) threads.emplace_back(i, build(readings_[i]));
        // Interpreters by id, the main thread first, then by age.
        std::sort(threads.begin(), threads.end(), [](const auto& a, const auto& b) {
            const auto key = [](const auto& item) {
                return std::tuple(item.second.interpreter_id, !item.second.is_main.value_or(false), item.first);
            };
            return key(a) < key(b);
        });
        for (auto& [index, thread] : threads) snapshot_.threads.push_back(std::move(thread));
    }

    model::Thread build(const ThreadReading& reading) {
        const cpython::InterpreterState& interpreter = walked_.interpreters[reading.state.interpreter];
        model::Thread thread;
        thread.python_thread_id = reading.state.python_thread_id;
        thread.interpreter_id = interpreter.id;
        if (reading.info) {
            const target::ThreadInfo& info = infos_[*reading.info];
            thread.tid = info.tid;
            thread.namespace_tid = info.namespace_tid;
            thread.kernel_name = info.name;
            thread.run_state = info.run_state;
            thread.is_main = info.tid == target_.pid();
        }
        const ThreadNames& names = names_[reading.state.interpreter];
        if (const auto name = names.find(reading.state.python_thread_id); name != names.end()) {
            thread.name = name->second;
        }
        if (const auto& gil = gils_[reading.state.interpreter]) {
            thread.gil = cpython::gil_state(*gil, reading.state.address, reading.call);
        }
        thread.gc_collecting = collects(interpreter, reading);
        thread.raising = reading.exceptions.raising;
        thread.handling = reading.exceptions.handling;
        thread.stack_end = reading.outcome.end;
        build_frames(reading, thread);
        describe_end(reading, thread);
        return thread;
    }

    /// The flag belongs to an interpreter. It is a thread's only where that is sure: nothing is
    /// collected, or there is no other thread.
    std::optional<bool> collects(const cpython::InterpreterState& interpreter,
                                 const ThreadReading& reading) const {
        if (!interpreter.gc_collecting) return std::nullopt;
        if (!*interpreter.gc_collecting) return false;
        const auto same = std::count_if(readings_.begin(), readings_.end(), [&](const ThreadReading& other) {
            return other.state.interpreter == reading.state.interpreter;
        });
        return same == 1 ? std::optional(true) : std::nullopt;
    }

    void build_frames(const ThreadReading& reading, model::Thread& thread) {
        for (auto raw = reading.frames.rbegin(); raw != reading.frames.rend(); ++raw) {
            if (raw->shim) continue;
            const cpython::Code* code = codes_.find(raw->code);
            if (code == nullptr || code->problem) {
                cut(thread, code != nullptr ? code->problem->message() : "code object unknown");
                continue;
            }
            if (codes_.is_incomplete(*code, *raw)) continue;
            model::Frame frame;
            frame.function = code->function;
            frame.qualname = code->qualname;
            frame.file = code->file;
            frame.first_line = code->identity.first_line;
            if (const auto offset = codes_.instruction_offset(*code, *raw)) {
                frame.position = codes_.position(*code, *offset);
            }
            thread.frames.push_back(std::move(frame));
        }
    }

    static void cut(model::Thread& thread, const std::string& reason) {
        if (thread.stack_end == model::StackEnd::kComplete) thread.stack_end = model::StackEnd::kUnreadable;
        if (thread.stack_problem.empty()) thread.stack_problem = "a frame was left out: " + reason;
    }

    void describe_end(const ThreadReading& reading, model::Thread& thread) const {
        switch (reading.outcome.end) {
            case model::StackEnd::kTorn:
                // Not proved is not shown: the frames of the last attempt may never have existed together.
                thread.frames.clear();
                thread.stack_problem = "the stack changed during each of " +
                                       std::to_string(reading.outcome.attempts) +
                                       " reads and could not be proved; dump without --no-block to see it";
                break;
            case model::StackEnd::kUnreadable:
                if (reading.outcome.problem) thread.stack_problem = reading.outcome.problem->message();
                break;
            case model::StackEnd::kDepthLimit:
                thread.stack_problem = "only the innermost " + std::to_string(reading.frames.size()) +
                                       " frames were read";
                break;
            case model::StackEnd::kComplete:
            case model::StackEnd::kNoPython: break;
        }
    }

    target::LiveTarget& target_;
    const memory::MemoryReader& memory_;
    const cpython::Runtime& runtime_;
    const CaptureOptions options_;
    StackReader stacks_;
    CodeReader codes_;
    cpython::WalkedInterpreters walked_;
    std::vector<ThreadReading> readings_;
    std::vector<std::optional<cpython::Gil>> gils_;  ///< Per interpreter.
    std::vector<ThreadNames> names_;                 ///< Per interpreter.
    std::vector<target::ThreadInfo> infos_;
    std::unordered_map<std::int32_t, RemoteAddr> thread_pointers_;
    std::unordered_map<std::int32_t, threads::Syscall> calls_;
    std::unordered_map<std::int32_t, threads::Syscall> calls_before_;
    bool known_calls_ = false;
    model::Snapshot snapshot_;
};

Result<model::Snapshot> capture_here(int pid, const CaptureOptions& options) {
    PYSTACK_TRY(target, target::LiveTarget::open(pid));
    PYSTACK_TRY(runtime, cpython::locate_runtime(*target, {.exhaustive = options.exhaustive}));
    return Capture(*target, runtime, options).run();
}

}  // namespace

Result<model::Snapshot> capture_live(int pid, const CaptureOptions& options) {
    Result<model::Snapshot> snapshot = fail(Error{.code = ErrorCode::kSystem, .what = "capture did not run"});
    std::thread worker([&] { snapshot = capture_here(pid, options); });
    worker.join();
    return snapshot;
}

}  // namespace pystack::capture
