#include "snapshot/snapshot_builder.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <functional>
#include <string_view>
#include <tuple>
#include <utility>

#include "cpython/runtime/other_runtimes.h"
#include "snapshot/frame_maker.h"
#include "snapshot/task_builder.h"
#include "snapshot/waits_builder.h"

namespace pystack::snapshot {

namespace {

/// The flag belongs to an interpreter. It is a thread's only where that is sure: nothing is
/// collected, or there is no other thread.
std::optional<bool> collects(const RawSnapshot& raw, const RawThread& thread) {
    const auto& collecting = raw.walked.interpreters[thread.state.interpreter].gc_collecting;
    if (!collecting || !*collecting) return collecting;
    const auto same =
        std::count_if(raw.threads.begin(), raw.threads.end(), [&](const RawThread& other) {
            return other.state.interpreter == thread.state.interpreter;
        });
    return same == 1 ? std::optional(true) : std::nullopt;
}

/// Where the native stacks are known, they tell which thread collects: its stack has the collector
/// on it [Python/gc.c, Modules/gcmodule.c].
void settle_collecting(std::vector<model::Thread>& threads) {
    const auto is_collector = [](const model::Frame& frame) {
        constexpr std::array<std::string_view, 4> kCollectors = {
            "gc_collect_main", "gc_collect_internal", "gc_collect_region", "collect_with_callback"};
        return frame.native &&
               std::ranges::find(kCollectors, frame.function.view()) != kCollectors.end();
    };
    for (model::Thread& thread : threads) {
        if (!std::ranges::any_of(thread.frames, is_collector)) continue;
        for (model::Thread& other : threads) {
            if (other.interpreter_id == thread.interpreter_id) other.gc_collecting = false;
        }
        thread.gc_collecting = true;
    }
}

/// What a native frame takes as objects of Python and as text.
constexpr std::uint64_t kNativeFrameObjects = 1024;

/// The frames that were added last, if they fit. Otherwise they go again.
bool charge_native_frames(RawSnapshot& raw, std::size_t first, model::Thread& thread) {
    std::uint64_t bytes = 0;
    for (std::size_t i = first; i < thread.frames.size(); ++i) {
        const model::Frame& frame = thread.frames[i];
        bytes += sizeof(model::Frame) + sizeof(model::NativeDetails) + kNativeFrameObjects +
                 frame.function.view().size() + frame.file.view().size();
        if (!frame.native) continue;
        bytes += frame.native->signature.size() + frame.native->symbol.size() +
                 frame.native->python_name.size() + frame.native->module.size();
    }
    if (raw.target.limits().charge_bytes(bytes)) return true;
    thread.frames.resize(first);
    return false;
}

void add_gap(const RawSnapshot& raw, const NativeStack& stack, const merge::MergedFrame& gap,
             merge::NativeNames& names, model::Thread& thread) {
    model::Frame frame;
    frame.kind = model::FrameKind::kGap;
    const RemoteAddr end = stack.end.address;
    frame.function = stack.gap_reason(gap.index, names.place(end),
                                      raw.target.memory().read_pointer(end).has_value());
    thread.frames.push_back(std::move(frame));
}

void add_merged_frames(RawSnapshot& raw, const NativeStack& stack, NativeCapture& native,
                       FrameMaker& maker, model::Thread& thread) {
    using Kind = merge::MergedFrame::Kind;
    merge::NativeNames& names = native.names();
    for (auto merged = stack.merged.frames.rbegin(); merged != stack.merged.frames.rend();
         ++merged) {
        switch (merged->kind) {
            case Kind::kPython:
                maker.add(raw.threads[merged->thread], merged->index, thread);
                break;
            case Kind::kNative:
            case Kind::kLoop: {
                const std::size_t first = thread.frames.size();
                names.append(stack.frames[merged->index], merged->kind == Kind::kLoop,
                             thread.frames);
                if (!charge_native_frames(raw, first, thread))
                    leave_out_frame(thread, left_out().message());
                break;
            }
            case Kind::kGap:
                add_gap(raw, stack, *merged, names, thread);
                break;
        }
    }
    merge::mark_glue_by_place(thread.frames, stack.is_complete());
    if (!native.options().last_only) return;
    const auto is_python = [](const model::Frame& frame) {
        return frame.kind == model::FrameKind::kPython;
    };
    const auto innermost =
        std::find_if(thread.frames.rbegin(), thread.frames.rend(), is_python).base();
    thread.frames.erase(std::remove_if(thread.frames.begin(), innermost, std::not_fn(is_python)),
                        innermost);
}

/// The thread states of one OS thread, of which there are several if it runs code of several
/// interpreters.
class OsThread {
  public:
    OsThread(const RawSnapshot& raw, std::span<const std::size_t> innermost_first)
        : raw_(raw), states_(innermost_first) {}

    std::span<const std::size_t> innermost_first() const { return states_; }
    const RawThread& state(std::size_t index) const { return raw_.threads[index]; }
    /// The one that runs now.
    const RawThread& innermost() const { return raw_.threads[states_.front()]; }
    /// The one that the thread began with, which has its own ids and its name.
    const RawThread& first() const {
        return raw_.threads[*std::ranges::min_element(
            states_, {}, [&](std::size_t index) { return interpreter_id(raw_.threads[index]); })];
    }
    std::int64_t interpreter_id(const RawThread& read) const {
        return raw_.walked.interpreters[read.state.interpreter].id;
    }

  private:
    const RawSnapshot& raw_;
    std::span<const std::size_t> states_;
};

void build_frames(RawSnapshot& raw, const OsThread& read, NativeCapture* native, FrameMaker& maker,
                  model::Thread& thread) {
    if (native != nullptr && read.innermost().native) {
        add_merged_frames(raw, raw.natives[*read.innermost().native], *native, maker, thread);
        return;
    }
    const auto states = read.innermost_first();
    for (auto state = states.rbegin(); state != states.rend(); ++state) {
        const RawThread& one = raw.threads[*state];
        thread.frames.reserve(thread.frames.size() + one.frames.size());
        for (std::size_t i = one.frames.size(); i > 0; --i) maker.add(one, i - 1, thread);
    }
}

void describe_os_thread(const RawSnapshot& raw, std::size_t index, std::int64_t interpreter_id,
                        model::Thread& thread) {
    const target::ThreadInfo& info = raw.infos[index];
    thread.tid = info.tid;
    thread.namespace_tid = info.namespace_tid;
    thread.kernel_name = info.name;
    thread.run_state = info.run_state;
    thread.is_main = info.tid == raw.target.pid() && interpreter_id == 0;
}

void describe_end(const RawThread& read, model::Thread& thread) {
    switch (read.outcome.end) {
        case model::StackEnd::kTorn:
            // Not proved is not shown: the frames of the last attempt may never have existed
            // together.
            thread.frames.clear();
            if (read.outcome.attempts == 0) {
                thread.stack_problem =
                    "the stack could not be proved consistent before the time limit";
                break;
            }
            thread.stack_problem =
                "the stack could not be proved consistent: it changed during each of " +
                std::to_string(read.outcome.attempts) + " reads, or they took too long";
            break;
        case model::StackEnd::kUnreadable:
            if (read.outcome.problem) thread.stack_problem = read.outcome.problem->message();
            break;
        case model::StackEnd::kDepthLimit:
            thread.stack_problem =
                "only the innermost " + std::to_string(read.frames.size()) + " frames were read";
            break;
        case model::StackEnd::kComplete:
        case model::StackEnd::kNoPython:
            break;
    }
}

/// How the stacks of all its states end: the first that was lost or cut says so for all.
const RawThread& worst_end(const OsThread& read) {
    for (const std::size_t index : read.innermost_first()) {
        const model::StackEnd end = read.state(index).outcome.end;
        if (end != model::StackEnd::kComplete && end != model::StackEnd::kNoPython)
            return read.state(index);
    }
    return read.innermost();
}

model::Thread build_thread(RawSnapshot& raw, const OsThread& read, NativeCapture* native,
                           FrameMaker& maker) {
    model::Thread thread;
    const RawThread& inner = read.innermost();
    const RawThread& first = read.first();
    thread.python_thread_id = first.state.python_thread_id;
    thread.interpreter_id = read.interpreter_id(inner);
    // Without an OS thread its id may still be its creator's, and so would be the name.
    if (inner.info) {
        describe_os_thread(raw, *inner.info, read.interpreter_id(first), thread);
        thread.name = cpython::thread_name(raw.names[first.state.interpreter],
                                           first.state.python_thread_id, *thread.is_main);
    }
    if (const auto& gil = raw.gils[inner.state.interpreter]) {
        thread.gil = inner.waited_for_gil
                         ? model::GilState::kWaits
                         : cpython::gil_state(*gil, inner.state.address, inner.call);
    }
    thread.waits_for = build_wait(raw, inner, thread.gil);
    thread.gc_collecting = collects(raw, inner);
    thread.raising = inner.exceptions.raising;
    thread.handling = inner.exceptions.handling;
    const RawThread& worst = worst_end(read);
    thread.stack_end = worst.outcome.end;
    build_frames(raw, read, native, maker, thread);
    const bool runs_python = std::any_of(
        thread.frames.begin(), thread.frames.end(),
        [](const model::Frame& frame) { return frame.kind == model::FrameKind::kPython; });
    // Shim frames and frames that are being set up are no Python code that runs.
    if (!runs_python && thread.stack_end == model::StackEnd::kComplete) {
        thread.stack_end = model::StackEnd::kNoPython;
    }
    describe_end(worst, thread);
    return thread;
}

/// Threads that the interpreter does not know.
void add_native_threads(RawSnapshot& raw, NativeCapture& native, FrameMaker& maker,
                        std::vector<model::Thread>& threads) {
    std::vector<bool> known(raw.natives.size());
    for (const RawThread& read : raw.threads) {
        if (read.native) known[*read.native] = true;
    }
    for (std::size_t i = 0; i < known.size(); ++i) {
        if (raw.target.limits().cancelled()) return;
        if (known[i]) continue;
        model::Thread& thread = threads.emplace_back();
        describe_os_thread(raw, raw.natives[i].info, 0, thread);
        thread.stack_end = model::StackEnd::kNoPython;
        add_merged_frames(raw, raw.natives[i], native, maker, thread);
    }
}

/// What the limits have cut off is not in its place alone: a reader of the whole must know.
void tell_limits(const WorkLimits& limits, std::vector<std::string>& problems) {
    if (limits.bytes_refused()) {
        const auto size = std::to_string(limits.max_bytes() >> 20);
        problems.push_back("the memory limit of " + size +
                           " MiB was reached: names, lines, frames or values were left out");
    }
    if (limits.steps_refused()) {
        problems.push_back("the work limit was reached: the rest was left out");
    }
}

}  // namespace

model::Snapshot build_snapshot(RawSnapshot& raw, NativeCapture* native) {
    model::Snapshot snapshot;
    if (raw.walked.problem) {
        snapshot.problems.push_back("the list of threads is incomplete: " +
                                    raw.walked.problem->message());
    }
    for (const cpython::InterpreterState& interpreter : raw.walked.interpreters) {
        snapshot.interpreters.push_back({.id = interpreter.id,
                                         .gc_collecting = interpreter.gc_collecting,
                                         .finalizing = interpreter.finalizing});
    }
    std::sort(snapshot.interpreters.begin(), snapshot.interpreters.end(),
              [](const auto& a, const auto& b) { return a.id < b.id; });
    FrameMaker maker(raw);
    for (const std::vector<std::size_t>& states : raw.os_threads()) {
        if (raw.target.limits().cancelled()) break;
        snapshot.threads.push_back(build_thread(raw, OsThread(raw, states), native, maker));
        snapshot.threads.back().event_loop = event_loop_of(raw, states);
    }
    build_tasks(raw, maker, snapshot);
    snapshot.problems.insert(snapshot.problems.end(), raw.guesses().begin(), raw.guesses().end());
    for (const std::string& other : cpython::other_runtimes(raw.target, raw.runtime)) {
        snapshot.problems.push_back("the process also runs " + other +
                                    ", whose threads and stacks are not shown");
    }
    if (native != nullptr) {
        settle_collecting(snapshot.threads);
        add_native_threads(raw, *native, maker, snapshot.threads);
        if (const std::size_t count = native->refused_threads(); count > 0) {
            snapshot.problems.push_back("the native stacks of " + std::to_string(count) +
                                        " threads were left out because of the memory limit");
        }
        for (std::string& problem : native->names().problems())
            snapshot.problems.push_back(std::move(problem));
    }
    for (std::string& part : raw.target.left_out_parts())
        snapshot.problems.push_back(std::move(part));
    tell_limits(raw.target.limits(), snapshot.problems);
    // The main thread first, then interpreters by id, then by age, which is the order of the
    // reading; at the end what is in none.
    std::stable_sort(snapshot.threads.begin(), snapshot.threads.end(),
                     [](const auto& a, const auto& b) {
                         const auto key = [](const model::Thread& thread) {
                             return std::tuple(!thread.is_main.value_or(false),
                                               !thread.interpreter_id, thread.interpreter_id);
                         };
                         return key(a) < key(b);
                     });
    snapshot.deadlocks = find_deadlocks(snapshot.threads);
    describe_target(raw, snapshot);
    return snapshot;
}

void describe_target(const RawSnapshot& raw, model::Snapshot& snapshot) {
    const auto now = std::chrono::system_clock::now().time_since_epoch();
    snapshot.time_ns = std::chrono::duration_cast<std::chrono::nanoseconds>(now).count();
    snapshot.pid = raw.target.pid();
    snapshot.namespace_pid = raw.target.namespace_pid();
    snapshot.executable = raw.target.executable();
    snapshot.command = raw.target.command();
    snapshot.version = raw.runtime.version_text();
    snapshot.free_threaded = raw.runtime.layout.free_threaded;
    snapshot.debug = raw.runtime.debug;
}

model::Snapshot build_snapshot_without_python(RawSnapshot& raw, NativeCapture& native,
                                              const Error& reason) {
    raw.walked.problem.reset();
    model::Snapshot snapshot = build_snapshot(raw, &native);
    snapshot.version.clear();
    snapshot.free_threaded = snapshot.debug = false;
    snapshot.problems.insert(snapshot.problems.begin(), reason.message());
    return snapshot;
}

}  // namespace pystack::snapshot
