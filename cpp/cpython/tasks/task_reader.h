#pragma once

#include <optional>
#include <vector>

#include "base/work_limits.h"
#include "cpython/frames/code_reader.h"
#include "cpython/layout/layout.h"
#include "cpython/objects/value_types.h"
#include "cpython/runtime/interpreter_walker.h"
#include "cpython/tasks/asyncio_offsets.h"
#include "cpython/tasks/futures.h"
#include "cpython/tasks/raw_task.h"
#include "cpython/tasks/task_lists.h"
#include "memory/memory_reader.h"

namespace pystack::cpython {

/// Reads all asyncio tasks of a target that stands still, or a copy of its memory.
class TaskReader {
  public:
    /// `memory` is read field by field: it should be a copy that is filled page by page. What is
    /// kept takes bytes of `limits`.
    TaskReader(const memory::MemoryReader& memory, const Layout& layout, WorkLimits& limits,
               const std::optional<AsyncioOffsets>& published);

    /// Tasks with their chains of awaits, and the loops that run in threads.
    RawTasks read(const WalkedInterpreters& walked);
    /// What they wait for, and who awaits whom; the code objects of their frames must be known.
    void explain(RawTasks& tasks, const CodeReader& codes);
    /// Only what they wait for, without who holds it.
    void find_waits(std::vector<RawTask>& tasks, const CodeReader& codes);

  private:
    void read_interpreter(const WalkedInterpreters& walked, std::size_t interpreter,
                          RawTasks& result);
    void add_loops(const WalkedInterpreters& walked, std::size_t interpreter, RawTasks& result);
    std::optional<RawTask> read_task(RemoteAddr address, AwaitChains& chains);
    model::TaskState state_of(const RawTask& task);
    bool is_none(RemoteAddr object);

    const memory::MemoryReader& memory_;
    const Layout& layout_;
    WorkLimits& limits_;
    const std::optional<AsyncioOffsets> published_;
    TypeCache types_;
    Futures futures_;
    TaskLists lists_;
};

}  // namespace pystack::cpython
