#pragma once

#include <vector>

#include "base/address.h"
#include "cpython/frames/code_reader.h"
#include "cpython/objects/attributes.h"
#include "cpython/objects/callbacks.h"
#include "cpython/objects/value_types.h"
#include "cpython/sync/frame_objects.h"
#include "memory/memory_reader.h"

namespace pystack::cpython {

/// Which futures of concurrent.futures an asyncio loop is to complete: those that
/// run_coroutine_threadsafe() returned [Lib/asyncio/tasks.py, futures.py, 3.6 to 3.15].
class LoopFutures {
  public:
    /// All must outlive this.
    LoopFutures(const memory::MemoryReader& memory, const Layout& layout, TypeCache& types,
                const FrameObjects& objects)
        : memory_(memory),
          layout_(layout),
          types_(types),
          objects_(objects),
          attributes_(memory, layout_, types),
          callbacks_(memory, layout_, types) {}
    LoopFutures(const LoopFutures&) = delete;
    LoopFutures& operator=(const LoopFutures&) = delete;

    /// Whether it is the function in which a loop runs.
    static bool is_loop(const Code& code);
    /// The loop of such a frame; null if it cannot be read.
    RemoteAddr loop_of(const Code& code, const RawFrame& frame);
    /// Whether the future gets the result of a task of this loop.
    bool has_task(RemoteAddr loop, RemoteAddr future);
    /// The coroutines that the loop has yet to make tasks of, among other objects, and the futures
    /// that are to get their results. At most some.
    std::vector<RemoteAddr> not_begun(RemoteAddr loop);

  private:
    const memory::MemoryReader& memory_;
    const Layout layout_;
    TypeCache& types_;
    const FrameObjects& objects_;
    Attributes attributes_;
    Callbacks callbacks_;
};

}  // namespace pystack::cpython
