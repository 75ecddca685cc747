#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "cpython/frames/code_reader.h"
#include "cpython/objects/attributes.h"
#include "cpython/objects/value_types.h"
#include "cpython/sync/frame_objects.h"
#include "memory/memory_reader.h"

namespace pystack::cpython {

/// What the frames of the thread that manages a ProcessPoolExecutor say of its work
/// [Lib/concurrent/futures/process.py, 3.6 to 3.15].
class ProcessPools {
  public:
    /// All must outlive this.
    ProcessPools(const memory::MemoryReader& memory, const Layout& layout, TypeCache& types,
                 const FrameObjects& objects)
        : memory_(memory),
          layout_(layout),
          types_(types),
          objects_(objects),
          attributes_(memory, layout_, types) {}
    ProcessPools(const ProcessPools&) = delete;
    ProcessPools& operator=(const ProcessPools&) = delete;

    /// Whether it is the function of that thread.
    static bool is_manager(const Code& code);

    struct Pool {
        std::vector<RemoteAddr> futures;      ///< Of the work that is not done.
        std::vector<std::int32_t> processes;  ///< Pids in the target's namespace.
    };
    /// Of a frame of is_manager(). nullopt if it cannot be read.
    std::optional<Pool> pool_of(const Code& code, const RawFrame& frame);

  private:
    struct Dicts {
        RemoteAddr processes;  ///< By pid.
        RemoteAddr work;       ///< By number: objects with a future.
    };
    Dicts dicts_of(const Code& code, const RawFrame& frame);

    const memory::MemoryReader& memory_;
    const Layout layout_;
    TypeCache& types_;
    const FrameObjects& objects_;
    Attributes attributes_;
};

}  // namespace pystack::cpython
