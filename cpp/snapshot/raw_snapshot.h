#pragma once

#include <algorithm>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "cpython/frames/code_reader.h"
#include "cpython/frames/stack_reader.h"
#include "cpython/runtime/exception_state.h"
#include "cpython/runtime/gil_state.h"
#include "cpython/runtime/interpreter_walker.h"
#include "cpython/runtime/runtime_locator.h"
#include "cpython/runtime/thread_names.h"
#include "cpython/sync/wait_finder.h"
#include "cpython/tasks/raw_task.h"
#include "merge/thread_merge.h"
#include "model/variables.h"
#include "model/wait.h"
#include "target/target.h"

namespace pystack::snapshot {

using cpython::ThreadNames;

/// Where a with block is.
struct BlockPlace {
    std::size_t thread = 0;  ///< Index into RawSnapshot::threads.
    /// Index into the frames of the thread, or into the chain of awaits of the task.
    std::size_t frame = 0;
    /// Of a suspended task of the thread's event loop: index into RawSnapshot::tasks.
    std::optional<std::size_t> task{};
};

/// What a thread waits for, and who can end it.
struct RawWait : cpython::FoundWait {
    std::optional<arch::Syscall> call{};    ///< That the thread is blocked in.
    bool ends_complete = false;             ///< Nobody else has the other end of its pipe.
    std::vector<BlockPlace> with_blocks{};  ///< Whoever is inside can end it.
    std::vector<std::size_t> workers{};     ///< Of a future: indexes of threads.
    model::HolderProof worker_proof = model::HolderProof::kWorker;  ///< Of all of them.
    bool pool_is_full = false;                                      ///< It will have no others.
};

/// What is read of one thread state, before anything is looked up or decoded.
struct RawThread {
    cpython::ThreadState state;
    std::vector<cpython::RawFrame> frames;  ///< Innermost first.
    cpython::StackOutcome outcome;
    cpython::ExceptionState exceptions;
    std::vector<model::FrameVariables> variables;  ///< As `frames`; empty when not asked for.
    std::optional<std::size_t> info;               ///< Index into RawSnapshot::infos.
    std::optional<RemoteAddr> place;               ///< See cpython::place_on_c_stack.
    std::optional<arch::Syscall> call;  ///< What the thread is blocked in, if it is known.
    std::optional<RawWait> wait{};
    /// When it was read: it was seen to wait just after that, or to have the GIL then.
    bool waited_for_gil = false;
    std::optional<std::size_t> native{};  ///< Index into RawSnapshot::natives.

    /// Whether it runs Python code, as far as it was read.
    bool runs_python() const {
        return std::ranges::any_of(frames, [](const auto& frame) { return !frame.shim; });
    }
};

/// The native stack of one OS thread. In its merged stack, threads are indexes into
/// RawSnapshot::threads.
struct NativeStack : merge::ThreadStack {
    std::size_t info = 0;  ///< Index into RawSnapshot::infos.

    NativeStack(std::size_t of_info, merge::ThreadStack stack)
        : merge::ThreadStack(std::move(stack)), info(of_info) {}
};

/// One reading of one target: what was copied from it, and the readers that did it. How the parts
/// come in (stopped, running, from a core) is the business of capture_live and capture_core;
/// build_snapshot turns the result into plain data.
struct RawSnapshot {
    RawSnapshot(const target::Target& read_target, const cpython::Runtime& read_runtime,
                std::size_t max_depth)
        : target(read_target),
          runtime(read_runtime),
          stacks(read_target.memory(), read_runtime.layout, max_depth),
          codes(read_target.memory(), read_runtime.layout, read_target.shared_limits()) {}

    /// Interpreters, stacks, exceptions, code objects, GILs and names of a target that does not
    /// move.
    void read_stopped();
    /// Forgets what read_stopped read; the code objects stay known.
    void clear();
    /// The same for the tasks alone.
    void clear_tasks();
    /// The same for the variables of threads and tasks.
    void clear_variables();
    void read_gils();
    void read_names();
    /// What the limits have left for frames, and for proofs of them.
    std::uint64_t bytes_for_frames() const;
    /// How many frames more the limits allow.
    std::size_t most_frames() const;
    /// Charges the frames of a thread to the limits. False: they do not fit, and are left out.
    bool take_frames(RawThread& raw);
    /// The same for variables.
    bool take_variables(std::uint64_t bytes);
    /// Finds each thread's OS thread, and from `calls` what it is blocked in.
    void match();
    /// What is one thread: the thread states of each OS thread, the innermost first, as indexes
    /// into `threads`. A state whose OS thread is not known is alone.
    const std::vector<std::vector<std::size_t>>& os_threads();
    /// What os_threads() had to guess.
    const std::vector<std::string>& guesses() const { return guesses_; }

    const target::Target& target;
    const cpython::Runtime& runtime;
    cpython::StackReader stacks;
    cpython::CodeReader codes;

    cpython::WalkedInterpreters walked;
    std::vector<RawThread> threads;                 ///< As walked.threads.
    std::vector<std::optional<cpython::Gil>> gils;  ///< As walked.interpreters.
    bool are_gils_of_stacks = true;                 ///< Of the same moment: the target did not run.
    std::vector<ThreadNames> names;                 ///< As walked.interpreters.
    std::vector<NativeStack> natives;               ///< Only when they were asked for.
    std::optional<cpython::RawTasks> tasks;         ///< Only when they were asked for.
    /// When it was read, on the target's monotonic clock; only of live targets.
    std::optional<double> monotonic_s;
    std::vector<target::ThreadInfo> infos;                         ///< The OS threads.
    std::unordered_map<std::int32_t, RemoteAddr> thread_pointers;  ///< By tid.
    std::unordered_map<std::int32_t, arch::Syscall> calls;         ///< By tid.
    /// By tid, of those in restart_syscall: the pc, and the number of the call that goes on.
    std::unordered_map<std::int32_t, RemoteAddr> restarts;
    std::unordered_map<std::int32_t, std::int64_t> restarted;

  private:
    void take_stack(RawThread& raw);
    void find_places();
    void group_by_os_thread();
    void sort_innermost_first(std::vector<std::size_t>& states);

    std::vector<std::vector<std::size_t>> os_threads_;  ///< Empty: not yet known.
    std::vector<std::string> guesses_;

    std::unordered_set<RemoteAddr> outermost_;  ///< Frames: of each thread that was read.
    // Taken from the limits:
    std::uint64_t frame_bytes_ = 0;
    std::uint64_t variable_bytes_ = 0;
};

/// A runtime without a single interpreter.
Error no_interpreter(const target::Target& target);

}  // namespace pystack::snapshot
