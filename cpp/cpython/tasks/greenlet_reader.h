#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/work_limits.h"
#include "cpython/frames/frame_format.h"
#include "cpython/layout/layout.h"
#include "cpython/objects/value_types.h"
#include "cpython/tasks/raw_task.h"
#include "memory/memory_reader.h"

namespace pystack::cpython {

/// Reads the suspended greenlets of a target that stands still, or of a copy of its memory, as
/// tasks: the one that runs has the stack of its thread, and one that has not begun has none.
class GreenletReader {
  public:
    /// As TaskReader.
    GreenletReader(const memory::MemoryReader& memory, const Layout& layout, WorkLimits& limits);

    /// `objects`: see FoundGreenlets; those that are none any more are passed over. What they wait
    /// for is not known, nor whether they wait at all.
    RawTasks read(std::span<const RemoteAddr> objects);

  private:
    struct Suspended {
        RemoteAddr frame_object;  ///< The innermost one.
        RemoteAddr c_stack;       ///< Where its C stack ends, on the stack of its thread.
        bool is_main = false;     ///< The greenlet that its thread began with.
    };
    std::optional<RawTask> read_one(RemoteAddr object);
    std::optional<Suspended> find_frame(RemoteAddr object);
    bool is_frame(RemoteAddr object);
    AwaitChain read_frames(RemoteAddr frame_object);

    const memory::MemoryReader& memory_;
    const Layout& layout_;
    WorkLimits& limits_;
    const FrameFormat format_;
    TypeCache types_;
    std::vector<std::byte> header_;
};

}  // namespace pystack::cpython
