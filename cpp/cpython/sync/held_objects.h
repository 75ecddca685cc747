#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "cpython/frames/code_reader.h"
#include "cpython/frames/coroutine_reader.h"
#include "cpython/sync/frame_objects.h"
#include "cpython/sync/lock_finder.h"
#include "memory/memory_reader.h"

namespace pystack::cpython {

/// A plain lock or a semaphore that a frame is inside of a with block of.
struct HeldObject {
    RemoteAddr object;
    std::size_t frame = 0;  ///< Index of the frame.
};

/// Whether code objects that are not known yet are read. That takes a target that can be read.
enum class NewCode : std::uint8_t { kRead, kSkip };

/// Finds what a stack holds by its with blocks. A with block of what `@contextmanager` makes stands
/// for those that its generator is inside of while it is suspended. An ExitStack stands for
/// nothing: what it will exit need not have been entered, and another thread may have done so. Not
/// thread-safe.
class HeldObjects {
  public:
    /// All must outlive this. `codes` has the code objects of the frames, and `objects` has loaded
    /// them.
    HeldObjects(const memory::MemoryReader& memory, const Layout& layout, CodeReader& codes,
                FrameObjects& objects, TypeCache& types, const LockFinder& locks)
        : memory_(memory),
          layout_(layout),
          codes_(codes),
          objects_(objects),
          types_(types),
          locks_(locks),
          generators_(memory, layout) {}

    /// Without locks that a call which the frame has made may have released. `frames`: innermost
    /// first.
    std::vector<HeldObject> find(std::span<const RawFrame> frames, NewCode new_code);
    /// The same of a frame of a suspended coroutine, which makes no calls.
    std::vector<RemoteAddr> find_suspended(const RawFrame& frame, NewCode new_code);
    /// Whether one of the frames, innermost first, waits for a condition that uses the lock, so
    /// that it has released it; or may do so, as far as can be read.
    bool may_have_released(std::span<const RawFrame> frames, const FoundLock& lock);
    /// The frames of generators that were looked at in between, since this was called last: their
    /// code objects may have changed since they were read.
    std::vector<RawFrame> take_generators() { return std::exchange(generator_frames_, {}); }

  private:
    /// What a frame is inside of a with block of.
    struct Held {
        RemoteAddr object;
        std::optional<FoundLock> lock;  ///< nullopt: a semaphore.
    };

    std::vector<Held> blocks_of(const RawFrame& frame, NewCode new_code);
    void add_blocks(const RawFrame& frame, std::vector<Held>& held,
                    std::vector<RemoteAddr>& managers);
    std::optional<RawFrame> suspended_frame(RemoteAddr manager);

    const memory::MemoryReader& memory_;
    const Layout& layout_;
    CodeReader& codes_;
    FrameObjects& objects_;
    TypeCache& types_;
    const LockFinder& locks_;
    CoroutineReader generators_;
    std::vector<RawFrame> generator_frames_;
};

}  // namespace pystack::cpython
