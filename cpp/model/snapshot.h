#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/address.h"
#include "model/frame.h"
#include "model/task.h"
#include "model/wait.h"

namespace pystack::model {

/// Why a stack has no more frames. A cut stack is data: the frames that were read are kept.
enum class StackEnd : std::uint8_t {
    kComplete,    ///< The chain ended where the interpreter ends it.
    kTorn,        ///< The target ran while it was read, and no consistent read succeeded within the
                  ///< retries.
    kUnreadable,  ///< A frame could not be read or made no sense.
    kDepthLimit,  ///< The reader's own cap.
    kNoPython,    ///< The thread runs no Python code.
};

/// Whether nothing of the stack counts: what was read of it may be wrong.
constexpr bool is_lost(StackEnd end) {
    return end == StackEnd::kTorn || end == StackEnd::kUnreadable;
}

enum class GilState : std::uint8_t { kUnknown, kNone, kHolds, kWaits, kDropping };

struct Thread {
    std::optional<std::int32_t> tid;            ///< In our pid namespace.
    std::optional<std::int32_t> namespace_tid;  ///< In the target's, where it differs.
    /// Both are absent of threads that the interpreter does not know.
    std::optional<std::uint64_t> python_thread_id;
    std::optional<std::int64_t> interpreter_id;
    std::optional<std::string> name;
    std::optional<std::string> kernel_name;
    std::optional<bool> is_main;
    std::optional<char> run_state;
    GilState gil = GilState::kUnknown;
    std::optional<bool> gc_collecting;
    std::optional<std::string> raising;
    std::optional<std::string> handling;
    Boxed<Wait> waits_for;  ///< Empty if it does not wait, or that is not known.
    StackEnd stack_end = StackEnd::kComplete;
    std::string stack_problem;
    std::vector<Frame> frames;            ///< Outermost first.
    std::optional<EventLoop> event_loop;  ///< The asyncio loop that runs in it.
};

struct Interpreter {
    std::int64_t id = 0;
    std::optional<bool> gc_collecting;
    std::optional<bool> finalizing;
};

/// One file that was mapped into a dead process, and what was found for it.
struct CoreModule {
    std::string path;  ///< As the core names it.
    RemoteRange range;
    std::string status;  ///< "found", "missing" or "mismatched".
    std::optional<std::string> found_path;
    std::optional<std::string> core_build_id;
    std::optional<std::string> file_build_id;
};

/// What a core file says beyond the interpreter's state. Absent: the core does not say.
struct CoreDetails {
    std::string cause;  ///< One sentence: the signal by name and code, with address or sender.
    std::optional<std::int32_t> signal;
    std::optional<std::string> signal_name;
    std::optional<std::string> signal_code;  ///< "SEGV_MAPERR"
    std::optional<std::uint64_t> fault_address;
    std::optional<std::int32_t> sender_pid;
    std::optional<std::uint32_t> sender_uid;
    std::optional<std::int32_t> terminating_tid;
    bool stack_overflow = false;
    std::optional<std::int32_t> ppid;
    std::optional<std::int32_t> pgrp;
    std::optional<std::int32_t> sid;
    std::optional<std::uint32_t> uid;
    std::optional<std::uint32_t> gid;
    std::optional<std::int32_t> nice;
    std::optional<char> state;
    std::int64_t written_ns = 0;
    std::optional<std::uint32_t> written_by;  ///< The one user who can have written the file.
    bool arguments_cut = false;
    bool truncated = false;
    std::uint64_t missing_bytes = 0;
    std::vector<CoreModule> modules;
};

/// One reading of one target, complete and independent of it: plain data.
struct Snapshot {
    std::int32_t pid = 0;
    std::optional<std::int32_t> namespace_pid;
    std::optional<std::string> executable;
    std::optional<std::vector<std::string>> command;
    std::string version;
    bool free_threaded = false;
    bool debug = false;
    std::int64_t time_ns = 0;  ///< Realtime clock.
    bool stopped = false;
    std::optional<std::int64_t> stop_ns;
    bool was_stopped = false;
    std::int32_t attempts = 1;
    std::vector<Interpreter> interpreters;
    std::vector<Thread> threads;
    /// Indexes into `threads`: each of these waits for the next one, and the last for the first.
    std::vector<std::vector<std::size_t>> deadlocks;
    /// The asyncio tasks that are not done. nullopt: they were not asked for, or not read.
    std::optional<std::vector<Task>> tasks;
    /// Circles of tasks by Task::id, as `deadlocks` of threads; see find_task_deadlocks.
    std::vector<std::vector<std::uint64_t>> task_deadlocks;
    std::vector<std::string> problems;
    std::optional<CoreDetails> core;  ///< Only of core files.
};

}  // namespace pystack::model
