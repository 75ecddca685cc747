#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "cpython/frames/code_reader.h"
#include "cpython/sync/frame_objects.h"
#include "cpython/sync/lock_finder.h"
#include "memory/memory_reader.h"

namespace pystack::cpython {

/// A plain lock or a semaphore that a frame is inside of a with block of.
struct HeldObject {
    RemoteAddr object;
    std::size_t frame = 0;  ///< Index of the frame.
};

/// Finds what a stack holds by its with blocks. Not thread-safe.
class HeldObjects {
  public:
    /// All must outlive this. `codes` has the code objects of the frames, and `objects` has loaded
    /// them.
    HeldObjects(const memory::MemoryReader& memory, const Layout& layout, const CodeReader& codes,
                FrameObjects& objects, TypeCache& types, const LockFinder& locks)
        : memory_(memory),
          layout_(layout),
          codes_(codes),
          objects_(objects),
          types_(types),
          locks_(locks) {}

    /// Without locks that a call which the frame has made may have released. `frames`: innermost
    /// first.
    std::vector<HeldObject> find(std::span<const RawFrame> frames);

  private:
    RemoteAddr held_object(std::span<const RawFrame> frames, std::size_t frame, RemoteAddr object);
    bool may_have_released(std::span<const RawFrame> frames, std::size_t frame,
                           const FoundLock& lock);

    const memory::MemoryReader& memory_;
    const Layout& layout_;
    const CodeReader& codes_;
    FrameObjects& objects_;
    TypeCache& types_;
    const LockFinder& locks_;
};

}  // namespace pystack::cpython
