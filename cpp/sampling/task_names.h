#pragma once

#include <cstddef>
#include <optional>
#include <vector>

#include "cpython/tasks/asyncio_offsets.h"
#include "cpython/tasks/task_name.h"
#include "memory/read_batch.h"
#include "sampling/frame_interner.h"

namespace pystack::sampling {

/// The asyncio tasks that threads run, as frames with their names. Tasks and their names come and
/// go, and their addresses come again: a name counts when the task still ran after it was read, and
/// is read again each time.
class TaskNames {
  public:
    /// The task that one thread ran last.
    struct Known {
        RemoteAddr name;               ///< The object.
        std::vector<std::byte> bytes;  ///< Of it: as many as tell the name.
        model::FrameId frame = 0;
    };

    TaskNames(const memory::MemoryReader& memory, const cpython::Layout& layout,
              cpython::AsyncioOffsets offsets, FrameInterner& interner)
        : memory_(memory), layout_(layout), offsets_(offsets), interner_(interner) {}

    /// The task that a thread runs now; null: none.
    RemoteAddr running_task(RemoteAddr thread_state) const;
    /// The frame that stands for `task`, which the thread was found to run. nullopt when it does
    /// not any more, or its name cannot be read.
    std::optional<model::FrameId> frame_of(RemoteAddr thread_state, RemoteAddr task, Known& known);

  private:
    /// The name object of the task, while the thread runs it; `bytes` of it go to bytes_.
    std::optional<RemoteAddr> read_name(RemoteAddr thread_state, RemoteAddr task,
                                        RemoteRange bytes);

    const memory::MemoryReader& memory_;
    const cpython::Layout& layout_;
    const cpython::AsyncioOffsets offsets_;
    FrameInterner& interner_;
    memory::ReadBatch batch_;
    std::vector<std::byte> bytes_;
};

}  // namespace pystack::sampling
