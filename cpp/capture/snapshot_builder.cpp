#include "capture/snapshot_builder.h"

#include <algorithm>
#include <chrono>
#include <functional>
#include <tuple>
#include <utility>

namespace pystack::capture {

namespace {

using cpython::RawFrame;

/// The flag belongs to an interpreter. It is a thread's only where that is sure: nothing is
/// collected, or there is no other thread.
std::optional<bool> collects(const Reading& reading, const ThreadReading& thread) {
    const auto& collecting = reading.walked.interpreters[thread.state.interpreter].gc_collecting;
    if (!collecting || !*collecting) return collecting;
    const auto same = std::count_if(reading.threads.begin(), reading.threads.end(),
                                    [&](const ThreadReading& other) {
                                        return other.state.interpreter == thread.state.interpreter;
                                    });
    return same == 1 ? std::optional(true) : std::nullopt;
}

void leave_out_frame(model::Thread& thread, const std::string& reason) {
    if (thread.stack_end == model::StackEnd::kComplete)
        thread.stack_end = model::StackEnd::kUnreadable;
    if (thread.stack_problem.empty()) thread.stack_problem = "a frame was left out: " + reason;
}

/// Nothing for frames that run no Python code, and for those that are left out.
void add_python_frame(Reading& reading, const ThreadReading& read, std::size_t index,
                      model::Thread& thread) {
    const RawFrame& raw = read.frames[index];
    if (raw.shim) return;
    const cpython::Code* code = reading.codes.find(raw.code);
    if (code == nullptr || code->problem) {
        leave_out_frame(thread, code != nullptr ? code->problem->message() : "code object unknown");
        return;
    }
    if (reading.codes.is_incomplete(*code, raw)) return;
    model::Frame frame;
    frame.function = code->function;
    frame.qualname = code->qualname;
    frame.file = code->file;
    frame.first_line = code->identity.first_line;
    if (const auto offset = reading.codes.instruction_offset(*code, raw)) {
        frame.position = reading.codes.position(*code, *offset);
    }
    if (!read.variables.empty()) frame.variables = read.variables[index];
    const std::int64_t interpreter = reading.walked.interpreters[read.state.interpreter].id;
    if (thread.interpreter_id != interpreter) frame.interpreter_id = interpreter;
    thread.frames.push_back(std::move(frame));
}

/// Why the native stack ends where it does, for the reader of a gap.
std::string describe_gap(const Reading& reading, const NativeStack& stack, NativeNames& names) {
    if (stack.is_missing) return "the thread's registers could not be read";
    switch (stack.end.end) {
        case unwind::UnwindEnd::kNoUnwindInfo:
            return "nothing tells how to unwind the code at " + names.place(stack.end.address);
        case unwind::UnwindEnd::kCutStack:
            return reading.target.memory().read_pointer(stack.end.address)
                       ? "only a part of the stack was copied"
                       : "a part of the stack cannot be read";
        case unwind::UnwindEnd::kDepthLimit:
            return "only the innermost " + std::to_string(stack.frames.size()) +
                   " native frames were read";
        case unwind::UnwindEnd::kLoop:
            return "the stack makes no sense behind " + names.place(stack.end.address);
        case unwind::UnwindEnd::kComplete:
            break;
    }
    return "nothing tells where the Python frames that follow were called";
}

void add_gap(const Reading& reading, const NativeStack& stack, const MergedFrame& gap,
             NativeNames& names, model::Thread& thread) {
    model::Frame frame;
    frame.kind = model::FrameKind::kGap;
    frame.function = gap.index == stack.frames.size()
                         ? describe_gap(reading, stack, names)
                         : "nothing tells which native frames called the Python frames around";
    thread.frames.push_back(std::move(frame));
}

void add_merged_frames(Reading& reading, const NativeStack& stack, NativeCapture& native,
                       model::Thread& thread) {
    using Kind = MergedFrame::Kind;
    NativeNames& names = native.names();
    for (auto merged = stack.merged.frames.rbegin(); merged != stack.merged.frames.rend();
         ++merged) {
        switch (merged->kind) {
            case Kind::kPython:
                add_python_frame(reading, reading.threads[merged->thread], merged->index, thread);
                break;
            case Kind::kNative:
            case Kind::kLoop:
                names.append(stack.frames[merged->index], merged->kind == Kind::kLoop,
                             thread.frames);
                break;
            case Kind::kGap:
                add_gap(reading, stack, *merged, names, thread);
                break;
        }
    }
    mark_plumbing_by_place(thread.frames, stack.is_complete());
    if (!native.options().last_only) return;
    const auto is_python = [](const model::Frame& frame) {
        return frame.kind == model::FrameKind::kPython;
    };
    const auto innermost =
        std::find_if(thread.frames.rbegin(), thread.frames.rend(), is_python).base();
    thread.frames.erase(std::remove_if(thread.frames.begin(), innermost, std::not_fn(is_python)),
                        innermost);
}

void build_frames(Reading& reading, const ThreadReading& read, NativeCapture* native,
                  model::Thread& thread) {
    if (native != nullptr && read.native) {
        add_merged_frames(reading, reading.natives[*read.native], *native, thread);
        return;
    }
    for (std::size_t i = read.frames.size(); i > 0; --i) {
        add_python_frame(reading, read, i - 1, thread);
    }
}

void describe_os_thread(const Reading& reading, std::size_t index, model::Thread& thread) {
    const target::ThreadInfo& info = reading.infos[index];
    thread.tid = info.tid;
    thread.namespace_tid = info.namespace_tid;
    thread.kernel_name = info.name;
    thread.run_state = info.run_state;
    thread.is_main = info.tid == reading.target.pid() && thread.interpreter_id.value_or(0) == 0;
}

void describe_end(const ThreadReading& read, model::Thread& thread) {
    switch (read.outcome.end) {
        case model::StackEnd::kTorn:
            // Not proved is not shown: the frames of the last attempt may never have existed
            // together.
            thread.frames.clear();
            thread.stack_problem = "the stack changed during each of " +
                                   std::to_string(read.outcome.attempts) +
                                   " reads and could not be proved";
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

model::Thread build_thread(Reading& reading, const ThreadReading& read, NativeCapture* native) {
    model::Thread thread;
    thread.python_thread_id = read.state.python_thread_id;
    thread.interpreter_id = reading.walked.interpreters[read.state.interpreter].id;
    if (read.info) describe_os_thread(reading, *read.info, thread);
    // Without an OS thread its id may still be its creator's, and so would be the name.
    const ThreadNames& names = reading.names[read.state.interpreter];
    const auto name = names.find(read.state.python_thread_id);
    if (read.info && name != names.end()) thread.name = name->second;
    if (const auto& gil = reading.gils[read.state.interpreter]) {
        thread.gil = read.got_gil ? model::GilState::kWaits
                                  : cpython::gil_state(*gil, read.state.address, read.call);
    }
    thread.gc_collecting = collects(reading, read);
    thread.raising = read.exceptions.raising;
    thread.handling = read.exceptions.handling;
    thread.stack_end = read.outcome.end;
    build_frames(reading, read, native, thread);
    const bool runs_python = std::any_of(
        thread.frames.begin(), thread.frames.end(),
        [](const model::Frame& frame) { return frame.kind == model::FrameKind::kPython; });
    // Shim frames and frames that are being set up are no Python code that runs.
    if (!runs_python && thread.stack_end == model::StackEnd::kComplete) {
        thread.stack_end = model::StackEnd::kNoPython;
    }
    describe_end(read, thread);
    return thread;
}

/// Threads that the interpreter does not know.
void add_native_threads(Reading& reading, NativeCapture& native,
                        std::vector<model::Thread>& threads) {
    std::vector<bool> known(reading.natives.size());
    for (const ThreadReading& read : reading.threads) {
        if (read.native) known[*read.native] = true;
    }
    for (std::size_t i = 0; i < known.size(); ++i) {
        if (known[i]) continue;
        model::Thread& thread = threads.emplace_back();
        describe_os_thread(reading, reading.natives[i].info, thread);
        thread.stack_end = model::StackEnd::kNoPython;
        add_merged_frames(reading, reading.natives[i], native, thread);
    }
}

}  // namespace

model::Snapshot build_snapshot(Reading& reading, NativeCapture* native) {
    model::Snapshot snapshot;
    if (reading.walked.problem) {
        snapshot.problems.push_back("the list of threads is not complete: " +
                                    reading.walked.problem->message());
    }
    for (const cpython::InterpreterState& interpreter : reading.walked.interpreters) {
        snapshot.interpreters.push_back({.id = interpreter.id,
                                         .gc_collecting = interpreter.gc_collecting,
                                         .finalizing = interpreter.finalizing});
    }
    std::sort(snapshot.interpreters.begin(), snapshot.interpreters.end(),
              [](const auto& a, const auto& b) { return a.id < b.id; });
    for (const ThreadReading& read : reading.threads) {
        snapshot.threads.push_back(build_thread(reading, read, native));
    }
    if (native != nullptr) add_native_threads(reading, *native, snapshot.threads);
    // Interpreters by id, the main thread first, then by age, which is the order of the reading;
    // at the end what is in none.
    std::stable_sort(snapshot.threads.begin(), snapshot.threads.end(),
                     [](const auto& a, const auto& b) {
                         const auto key = [](const model::Thread& thread) {
                             return std::tuple(!thread.interpreter_id, thread.interpreter_id,
                                               !thread.is_main.value_or(false));
                         };
                         return key(a) < key(b);
                     });
    describe_target(reading, snapshot);
    return snapshot;
}

void describe_target(const Reading& reading, model::Snapshot& snapshot) {
    const auto now = std::chrono::system_clock::now().time_since_epoch();
    snapshot.time_ns = std::chrono::duration_cast<std::chrono::nanoseconds>(now).count();
    snapshot.pid = reading.target.pid();
    snapshot.namespace_pid = reading.target.namespace_pid();
    snapshot.executable = reading.target.executable();
    snapshot.command = reading.target.command();
    snapshot.version = reading.runtime.version.to_string();
    snapshot.free_threaded = reading.runtime.layout.free_threaded;
    snapshot.debug = reading.runtime.debug;
}

Error no_interpreter(const target::Target& target) {
    return Error{
        .code = ErrorCode::kNotPython,
        .what = "no interpreter",
        .detail = "process " + std::to_string(target.pid()) +
                  " has a Python runtime but no interpreter: it is starting or has shut down"};
}

}  // namespace pystack::capture
