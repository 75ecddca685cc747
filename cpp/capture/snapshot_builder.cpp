#include "capture/snapshot_builder.h"

#include <algorithm>
#include <chrono>
#include <tuple>

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

void build_frames(Reading& reading, const ThreadReading& read, model::Thread& thread) {
    for (auto raw = read.frames.rbegin(); raw != read.frames.rend(); ++raw) {
        if (raw->shim) continue;
        const cpython::Code* code = reading.codes.find(raw->code);
        if (code == nullptr || code->problem) {
            leave_out_frame(thread,
                            code != nullptr ? code->problem->message() : "code object unknown");
            continue;
        }
        if (reading.codes.is_incomplete(*code, *raw)) continue;
        model::Frame frame;
        frame.function = code->function;
        frame.qualname = code->qualname;
        frame.file = code->file;
        frame.first_line = code->identity.first_line;
        if (const auto offset = reading.codes.instruction_offset(*code, *raw)) {
            frame.position = reading.codes.position(*code, *offset);
        }
        if (!read.variables.empty()) {
            frame.variables = read.variables[static_cast<std::size_t>(&*raw - read.frames.data())];
        }
        thread.frames.push_back(std::move(frame));
    }
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

model::Thread build_thread(Reading& reading, const ThreadReading& read) {
    model::Thread thread;
    thread.python_thread_id = read.state.python_thread_id;
    thread.interpreter_id = reading.walked.interpreters[read.state.interpreter].id;
    if (read.info) {
        const target::ThreadInfo& info = reading.infos[*read.info];
        thread.tid = info.tid;
        thread.namespace_tid = info.namespace_tid;
        thread.kernel_name = info.name;
        thread.run_state = info.run_state;
        thread.is_main = info.tid == reading.target.pid() && thread.interpreter_id == 0;
    }
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
    build_frames(reading, read, thread);
    // Shim frames and frames that are being set up are no Python code that runs.
    if (thread.frames.empty() && thread.stack_end == model::StackEnd::kComplete) {
        thread.stack_end = model::StackEnd::kNoPython;
    }
    describe_end(read, thread);
    return thread;
}

}  // namespace

model::Snapshot build_snapshot(Reading& reading) {
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
        snapshot.threads.push_back(build_thread(reading, read));
    }
    // Interpreters by id, the main thread first, then by age, which is the order of the reading.
    std::stable_sort(
        snapshot.threads.begin(), snapshot.threads.end(), [](const auto& a, const auto& b) {
            const auto key = [](const model::Thread& thread) {
                return std::tuple(thread.interpreter_id, !thread.is_main.value_or(false));
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
