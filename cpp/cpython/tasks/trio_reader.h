#pragma once

#include <cstddef>
#include <optional>
#include <vector>

#include "base/work_limits.h"
#include "cpython/frames/code_reader.h"
#include "cpython/layout/layout.h"
#include "cpython/objects/attributes.h"
#include "cpython/objects/value_types.h"
#include "cpython/runtime/interpreter_walker.h"
#include "cpython/tasks/await_chain.h"
#include "cpython/tasks/raw_task.h"
#include "memory/memory_reader.h"

namespace pystack::cpython {

/// Whether an interpreter has imported trio.
bool has_trio(const memory::MemoryReader& memory, const Layout& layout, RemoteAddr interpreter);

/// Reads the tasks of trio, of a target that stands still or a copy of its memory. Each trio.run()
/// has a Runner, which a thread-local object of trio's refers to and which has a set of its tasks.
class TrioReader {
  public:
    /// As TaskReader.
    TrioReader(const memory::MemoryReader& memory, const Layout& layout, WorkLimits& limits);

    /// Tasks with their chains of awaits, and the task whose nursery each of them is in. The loops
    /// are the runners; in which thread each of them runs is not known here.
    RawTasks read(const WalkedInterpreters& walked);
    /// What they wait for; the code objects of their frames must be known.
    void explain(RawTasks& tasks, const CodeReader& codes);

  private:
    void read_interpreter(RemoteAddr interpreter, std::size_t index, RawTasks& result);
    void read_runner(RemoteAddr runner, std::size_t interpreter, RawTasks& result);
    std::optional<RawTask> read_task(RemoteAddr address);
    model::TaskState state_of(const RawTask& task);
    std::vector<RemoteAddr> runners(RemoteAddr run_context);

    const memory::MemoryReader& memory_;
    const Layout& layout_;
    WorkLimits& limits_;
    TypeCache types_;
    Attributes attributes_;
    AwaitChains chains_;
};

}  // namespace pystack::cpython
