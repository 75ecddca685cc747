#include "sampling/os_threads.h"

#include <algorithm>
#include <string>
#include <unordered_map>

#include "cpython/runtime/nested_states.h"

namespace pystack::sampling {

namespace {

/// Of so many frames, one has a shim mostly.
constexpr std::size_t kLookedAt = 256;

bool has_subinterpreters(const ProgramReaders& program) {
    return program.interpreters().interpreters().size() > 1;
}

std::int64_t interpreter_id(const ProgramReaders& program, std::size_t state) {
    const cpython::CachedInterpreters& interpreters = program.interpreters();
    return interpreters.interpreters()[interpreters.threads()[state].interpreter].id;
}

}  // namespace

std::vector<std::size_t>& OsThreads::add_thread() {
    if (count_ == threads_.size()) threads_.emplace_back();
    std::vector<std::size_t>& thread = threads_[count_++];
    thread.clear();
    return thread;
}

/// Read while it runs, which may fail: where it ran before is good enough then.
void OsThreads::look(const ProgramReaders& program, const ThreadTable& table) {
    const bool needs_outermost = program.runtime().layout.entry_mark == cpython::EntryMark::kNone;
    const auto& states = program.interpreters().threads();
    for (std::size_t i = 0; i < table.size(); ++i) {
        if (interpreter_id(program, i) == 0) continue;
        const auto read = program.stacks().read_stopped(states[i].address, frames_,
                                                        needs_outermost ? SIZE_MAX : kLookedAt);
        if (read.end == model::StackEnd::kUnreadable) continue;
        note_frames(program, i,
                    {.frames = frames_,
                     .outermost = frames_.empty() ? RemoteAddr{} : frames_.back().address,
                     .c_frame = read.c_frame},
                    table[i]);
    }
}

void OsThreads::build(const ProgramReaders& program, ThreadTable& table) {
    const bool is_single = !has_subinterpreters(program);
    if (is_single && single_of_changes_ == table.changes()) return;
    single_of_changes_.reset();
    count_ = 0;
    if (is_single) {
        for (std::size_t i = 0; i < table.size(); ++i) add_thread().push_back(i);
        single_of_changes_ = table.changes();
        return;
    }
    look(program, table);
    table.correct_tids(program.interpreters(), program.target().pid());
    std::unordered_map<std::int32_t, std::size_t> by_tid;
    for (std::size_t i = 0; i < table.size(); ++i) {
        const std::int32_t tid = table.tid(i);
        const auto known = tid != 0 ? by_tid.find(tid) : by_tid.end();
        if (known != by_tid.end()) {
            threads_[known->second].push_back(i);
            continue;
        }
        if (tid != 0) by_tid.emplace(tid, count_);
        add_thread().push_back(i);
    }
    for (std::vector<std::size_t>& states : std::span(threads_).first(count_)) {
        table[states.front()].is_order_guessed = false;
        if (states.size() > 1) sort(program, table, states);
        const std::size_t first = first_state(program, states);
        for (const std::size_t state : states)
            table.identities().withhold(table[state].index, state != first);
    }
}

void OsThreads::note_frames(const ProgramReaders& program, std::size_t state, const Frames& read,
                            TrackedThread& thread) {
    if (!has_subinterpreters(program)) return;
    const cpython::Layout& layout = program.runtime().layout;
    const auto& states = program.interpreters().threads();
    thread.runs_python = !std::ranges::all_of(read.frames, &cpython::RawFrame::shim);
    if (layout.entry_mark != cpython::EntryMark::kNone) {
        thread.place =
            cpython::place_on_c_stack(layout, states[state].address, read.frames, read.c_frame);
        return;
    }
    // Searched once for each outermost frame: the search takes longer than a sample.
    if (interpreter_id(program, state) == 0 || read.outermost == thread.outermost) return;
    thread.outermost = read.outermost;
    thread.place.reset();
    if (!read.outermost) return;
    const target::Target& target = program.target();
    thread.place = cpython::find_on_c_stacks(target.memory(), cpython::c_stack_ends(target, states),
                                             read.outermost);
}

void OsThreads::sort(const ProgramReaders& program, const ThreadTable& table,
                     std::span<std::size_t> states) {
    std::vector<cpython::NestedState> nested;
    for (const std::size_t i : states) {
        // Of a target that runs, the GIL was read at another moment than the frames.
        const std::uint8_t gil =
            program.stops() ? program.gil_bits(program.interpreters().threads()[i]) : 0;
        nested.push_back({.state = i,
                          .runs_python = table[i].runs_python,
                          .place = table[i].place,
                          .holds_gil = (gil & model::kHoldsGil) != 0,
                          .interpreter_id = interpreter_id(program, i)});
    }
    table[first_state(program, states)].is_order_guessed = !cpython::sort_innermost_first(nested);
    for (std::size_t k = 0; k < states.size(); ++k) states[k] = nested[k].state;
}

std::size_t OsThreads::first_state(const ProgramReaders& program,
                                   std::span<const std::size_t> states) {
    return *std::ranges::min_element(
        states, {}, [&](std::size_t state) { return interpreter_id(program, state); });
}

model::FrameId OsThreads::mark(FrameInterner& interner, std::int64_t interpreter_id) {
    return interner.marker_frame("<interpreter " + std::to_string(interpreter_id) + ">");
}

model::StackId OsThreads::join(const ProgramReaders& program, const ThreadTable& table,
                               std::span<const std::size_t> innermost_first) {
    model::StackId stack = 0;
    for (auto state = innermost_first.rbegin(); state != innermost_first.rend(); ++state) {
        const InternedStack& frames = table[*state].stack;
        if (frames.id() == 0) continue;
        if (stack == 0) {
            stack = frames.id();
            continue;
        }
        FrameInterner& interner = program.interner();
        stack = interner.push(stack, mark(interner, interpreter_id(program, *state)));
        stack = interner.push_all(stack, frames);
    }
    return stack;
}

}  // namespace pystack::sampling
