#pragma once

#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "capture/thread_merge.h"
#include "cpython/code_reader.h"
#include "cpython/exception_state.h"
#include "cpython/gil_state.h"
#include "cpython/interpreter_walker.h"
#include "cpython/runtime_locator.h"
#include "cpython/stack_reader.h"
#include "model/variables.h"
#include "target/target.h"

namespace pystack::capture {

using ThreadNames = std::unordered_map<std::uint64_t, std::string>;  ///< By python_thread_id.

/// What is read of one thread state, before anything is looked up or decoded.
struct ThreadReading {
    cpython::ThreadState state;
    std::vector<cpython::RawFrame> frames;  ///< Innermost first.
    cpython::StackOutcome outcome;
    cpython::ExceptionState exceptions;
    std::vector<model::FrameVariables> variables;  ///< As `frames`; empty when not asked for.
    std::optional<std::size_t> info;               ///< Index into Reading::infos.
    std::optional<threads::Syscall> call;  ///< What the thread is blocked in, if it is known.
    bool got_gil = false;  ///< Just after the reading, when another held it: so it waited.
    std::optional<std::size_t> native{};  ///< Index into Reading::natives.
};

/// The native stack of one OS thread. In its merged stack, threads are indexes into
/// Reading::threads.
struct NativeStack : ThreadStack {
    std::size_t info = 0;  ///< Index into Reading::infos.

    NativeStack(std::size_t of_info, ThreadStack stack)
        : ThreadStack(std::move(stack)), info(of_info) {}
};

/// One reading of one target: what was copied from it, and the readers that did it. How the parts
/// come in (stopped, running, from a core) is the business of capture_live and capture_core;
/// build_snapshot turns the result into plain data.
struct Reading {
    Reading(const target::Target& read_target, const cpython::Runtime& read_runtime,
            std::size_t max_depth)
        : target(read_target),
          runtime(read_runtime),
          stacks(read_target.memory(), read_runtime.layout, max_depth),
          codes(read_target.memory(), read_runtime.layout) {}

    /// Interpreters, stacks, exceptions, code objects, GILs and names of a target that does not
    /// move.
    void read_still();
    /// Forgets what read_still read; the code objects stay known.
    void clear();
    void read_gils();
    void read_names();
    /// Finds each thread's OS thread, and from `calls` what it is blocked in.
    void match();

    const target::Target& target;
    const cpython::Runtime& runtime;
    cpython::StackReader stacks;
    cpython::CodeReader codes;

    cpython::WalkedInterpreters walked;
    std::vector<ThreadReading> threads;             ///< As walked.threads.
    std::vector<std::optional<cpython::Gil>> gils;  ///< As walked.interpreters.
    std::vector<ThreadNames> names;                 ///< As walked.interpreters.
    std::vector<NativeStack> natives;               ///< Only when they were asked for.
    std::vector<target::ThreadInfo> infos;          ///< The OS threads.
    std::unordered_map<std::int32_t, RemoteAddr> thread_pointers;  ///< By tid.
    std::unordered_map<std::int32_t, threads::Syscall> calls;      ///< By tid.
};

}  // namespace pystack::capture
