#pragma once

#include <cstddef>
#include <optional>
#include <vector>

#include "base/address.h"
#include "base/work_limits.h"
#include "cpython/layout/layout.h"
#include "cpython/runtime/interpreter_walker.h"
#include "cpython/tasks/asyncio_offsets.h"
#include "memory/memory_reader.h"

namespace pystack::cpython {

/// The event loop that runs in a thread, and the task that it runs.
struct RunningLoop {
    RemoteAddr loop;          ///< Null: no loop runs in the thread.
    RemoteAddr running_task;  ///< Null: none, or it is not known.
};

/// Whether an interpreter has imported asyncio.
bool has_asyncio(const memory::MemoryReader& memory, const Layout& layout, RemoteAddr interpreter);

/// The tasks of one interpreter, as asyncio registers them, done ones among them.
struct TaskList {
    std::vector<RemoteAddr> tasks;  ///< Each once. Not checked to be tasks.
    bool is_cut = false;            ///< There are more, or a list could not be followed to its end.
    bool is_unknown = false;        ///< asyncio is imported, and keeps its tasks elsewhere (3.6).
};

/// Finds tasks where asyncio registers them: in weak sets of the module asyncio.tasks and, where
/// the C module publishes its offsets (3.14+), in lists of each thread and of the interpreter.
class TaskLists {
  public:
    TaskLists(const memory::MemoryReader& memory, const Layout& layout, WorkLimits& limits,
              const std::optional<AsyncioOffsets>& published);

    TaskList of_interpreter(RemoteAddr interpreter, const std::vector<RemoteAddr>& threads);
    /// After of_interpreter() of its interpreter.
    RunningLoop running_loop(RemoteAddr thread_state) const;

  private:
    void add_set(RemoteAddr set, bool of_weak_references, TaskList& list);
    void add_linked_list(RemoteAddr head, TaskList& list);
    RemoteAddr loop_in_dict(RemoteAddr thread_state) const;
    RemoteAddr weak_set_data(RemoteAddr weak_set) const;
    bool add(RemoteAddr task, TaskList& list) const;

    const memory::MemoryReader& memory_;
    const Layout& layout_;
    WorkLimits& limits_;
    const std::optional<AsyncioOffsets> published_;
    RemoteAddr current_tasks_;  ///< dict: loop -> task.
};

}  // namespace pystack::cpython
