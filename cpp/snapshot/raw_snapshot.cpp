#include "snapshot/raw_snapshot.h"

#include <algorithm>
#include <utility>

#include "cpython/runtime/nested_states.h"
#include "cpython/runtime/thread_matching.h"

namespace pystack::snapshot {

namespace {

/// What a frame takes until it is printed, about: here, in the snapshot, and as text.
constexpr std::uint64_t kFrameBytes = 768;
/// This part of the limit is not for frames: without their names they are worth nothing.
constexpr std::uint64_t kNamesShare = 8;

}  // namespace

std::uint64_t RawSnapshot::bytes_for_frames() const {
    const WorkLimits& limits = target.limits();
    const std::uint64_t kept = limits.max_bytes() / kNamesShare;
    return limits.bytes_left() - std::min(limits.bytes_left(), kept);
}

std::size_t RawSnapshot::most_frames() const {
    return static_cast<std::size_t>(bytes_for_frames() / kFrameBytes);
}

bool RawSnapshot::take_frames(RawThread& raw) {
    const std::uint64_t bytes = raw.frames.size() * kFrameBytes;
    if (target.limits().charge_bytes(bytes)) {
        frame_bytes_ += bytes;
        raw.frames.shrink_to_fit();
        return true;
    }
    raw.frames = {};
    raw.outcome = cpython::StackOutcome::unreadable(left_out());
    return false;
}

/// The frames of a thread that stood still. A frame has one caller, so threads that share one share
/// their outermost, too, and no interpreter makes such threads. Theirs are charged as well: it took
/// time to read them.
void RawSnapshot::take_stack(RawThread& raw) {
    if (!take_frames(raw) || raw.frames.empty()) return;
    if (raw.outcome.end != model::StackEnd::kComplete) return;
    if (outermost_.insert(raw.frames.back().address).second) return;
    raw.frames = {};
    raw.outcome = cpython::StackOutcome::unreadable(
        Error{.code = ErrorCode::kUnsupportedTarget,
              .what = "shared frames",
              .detail = "its frames are the same as those of another thread"});
}

void RawSnapshot::read_stopped() {
    const memory::MemoryReader& memory = target.memory();
    walked = cpython::walk_interpreters(memory, runtime,
                                        cpython::most_thread_states(target.thread_count()));
    std::vector<cpython::RawFrame> all_frames;
    for (const cpython::ThreadState& state : walked.threads) {
        RawThread& raw = threads.emplace_back();
        raw.state = state;
        const std::size_t most = most_frames();
        raw.outcome = most > 0 ? stacks.read_stopped(state.address, raw.frames, most)
                               : cpython::StackOutcome::unreadable(left_out());
        if (raw.outcome.end == model::StackEnd::kDepthLimit && raw.frames.size() == most)
            target.limits().refuse_bytes();
        take_stack(raw);
        raw.exceptions = cpython::read_exceptions(memory, runtime.layout, state.address);
        for (const cpython::RawFrame& frame : raw.frames) {
            if (all_frames.empty() || all_frames.back().code != frame.code)
                all_frames.push_back(frame);
        }
    }
    // What was known from before the target stood still may have changed.
    codes.verify(all_frames);
    codes.load(all_frames);
    read_gils();
    read_names();
}

bool RawSnapshot::take_variables(std::uint64_t bytes) {
    if (!target.limits().charge_bytes(bytes)) return false;
    variable_bytes_ += bytes;
    return true;
}

void RawSnapshot::clear() {
    walked = {};
    clear_variables();
    threads.clear();
    gils.clear();
    names.clear();
    natives.clear();
    os_threads_.clear();
    guesses_.clear();
    clear_tasks();
    thread_pointers.clear();
    calls.clear();
    restarts.clear();
    restarted.clear();
    outermost_.clear();
    target.limits().return_bytes(std::exchange(frame_bytes_, 0));
}

void RawSnapshot::clear_tasks() {
    if (tasks) target.limits().return_bytes(tasks->bytes);
    tasks.reset();
}

void RawSnapshot::clear_variables() {
    for (RawThread& thread : threads) thread.variables.clear();
    if (tasks) {
        for (cpython::RawTask& task : tasks->tasks) task.variables.clear();
    }
    target.limits().return_bytes(std::exchange(variable_bytes_, 0));
}

void RawSnapshot::read_gils() {
    for (const cpython::InterpreterState& interpreter : walked.interpreters) {
        gils.push_back(cpython::read_gil(target.memory(), runtime, interpreter.address));
    }
}

void RawSnapshot::read_names() {
    for (const cpython::InterpreterState& interpreter : walked.interpreters) {
        names.push_back(
            cpython::read_thread_names(target.memory(), runtime.layout, interpreter.address)
                .value_or(ThreadNames{}));
    }
}

void RawSnapshot::match() {
    find_places();
    std::vector<std::optional<RemoteAddr>> places;
    for (const RawThread& thread : threads) places.push_back(thread.place);
    const auto matches =
        cpython::match_threads(walked.threads, infos, thread_pointers, target.memory(),
                               {.of_states = places, .main_tid = target.pid()});
    for (std::size_t i = 0; i < threads.size(); ++i) {
        threads[i].info = matches[i];
        if (!matches[i]) continue;
        const auto call = calls.find(infos[*matches[i]].tid);
        if (call != calls.end()) threads[i].call = call->second;
    }
    os_threads_.clear();
}

const std::vector<std::vector<std::size_t>>& RawSnapshot::os_threads() {
    if (os_threads_.empty()) group_by_os_thread();
    return os_threads_;
}

void RawSnapshot::find_places() {
    if (walked.interpreters.size() < 2) return;
    std::vector<RemoteAddr> ends;
    for (RawThread& thread : threads) {
        thread.place = cpython::place_on_c_stack(runtime.layout, thread.state.address,
                                                 thread.frames, thread.outcome.c_frame);
        const bool leaves_traces = runtime.layout.entry_mark != cpython::EntryMark::kNone;
        const bool is_first = walked.interpreters[thread.state.interpreter].id == 0;
        if (leaves_traces || is_first || thread.frames.empty()) continue;
        if (ends.empty()) ends = cpython::c_stack_ends(target, walked.threads);
        thread.place =
            cpython::find_on_c_stacks(target.memory(), ends, thread.frames.back().address);
    }
}

void RawSnapshot::group_by_os_thread() {
    os_threads_.clear();
    guesses_.clear();
    std::unordered_map<std::size_t, std::size_t> known;  // By OS thread.
    for (std::size_t i = 0; i < threads.size(); ++i) {
        const auto& info = threads[i].info;
        const auto place = info ? known.find(*info) : known.end();
        if (place != known.end()) {
            os_threads_[place->second].push_back(i);
            continue;
        }
        if (info) known.emplace(*info, os_threads_.size());
        os_threads_.push_back({i});
    }
    for (std::vector<std::size_t>& states : os_threads_) {
        if (states.size() > 1) sort_innermost_first(states);
    }
}

void RawSnapshot::sort_innermost_first(std::vector<std::size_t>& states) {
    std::vector<cpython::NestedState> nested;
    for (const std::size_t i : states) {
        const RawThread& thread = threads[i];
        const cpython::ThreadState& state = thread.state;
        const auto* gil = state.interpreter < gils.size() && gils[state.interpreter]
                              ? &*gils[state.interpreter]
                              : nullptr;
        nested.push_back({.state = i,
                          .runs_python = thread.runs_python(),
                          .place = thread.place,
                          .holds_gil = gil != nullptr && gil->locked &&
                                       gil->holder == state.address && are_gils_of_stacks,
                          .interpreter_id = walked.interpreters[state.interpreter].id});
    }
    if (!cpython::sort_innermost_first(nested)) {
        guesses_.push_back("thread " + std::to_string(infos[*threads[states.front()].info].tid) +
                           " runs code of several interpreters, and which of them called which is"
                           " not known: the order of their frames is a guess");
    }
    for (std::size_t i = 0; i < states.size(); ++i) states[i] = nested[i].state;
}

Error no_interpreter(const target::Target& target) {
    return Error{
        .code = ErrorCode::kNotPython,
        .what = "no interpreter",
        .detail = "process " + std::to_string(target.pid()) +
                  " has a Python runtime but no interpreter: it is starting up or has shut down"};
}

}  // namespace pystack::snapshot
