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

/// What the frames of a worker of a ThreadPoolExecutor say of its work
/// [Lib/concurrent/futures/thread.py, 3.7 to 3.15].
class ThreadPools {
  public:
    /// All must outlive this.
    ThreadPools(const memory::MemoryReader& memory, const Layout& layout, TypeCache& types,
                const FrameObjects& objects)
        : memory_(memory),
          layout_(layout),
          types_(types),
          objects_(objects),
          attributes_(memory, layout_, types) {}
    ThreadPools(const ThreadPools&) = delete;
    ThreadPools& operator=(const ThreadPools&) = delete;

    /// Whether it is the function that fetches work and does it.
    static bool is_worker(const Code& code);
    /// Whether it is the method that does a piece of work.
    static bool is_work(const Code& code);

    struct Pool {
        RemoteAddr queue;  ///< Of the work that nobody does yet.
        /// Of threads, at most; nullopt if the executor is gone or that cannot be read.
        std::optional<std::uint64_t> most_workers;
    };
    /// Of a frame of is_worker().
    std::optional<Pool> pool_of(const Code& code, const RawFrame& frame);
    /// The future whose value a frame of is_work() computes; null if it cannot be read.
    RemoteAddr future_of(const Code& code, const RawFrame& frame);
    /// The futures of the work in the queue of a pool, as far as they are looked at.
    std::vector<RemoteAddr> queued_futures(RemoteAddr queue);

  private:
    const memory::MemoryReader& memory_;
    const Layout layout_;
    TypeCache& types_;
    const FrameObjects& objects_;
    Attributes attributes_;
};

}  // namespace pystack::cpython
