#pragma once

#include <vector>

#include "cpython/sync/frame_objects.h"
#include "cpython/sync/lock_finder.h"
#include "memory/memory_reader.h"
#include "snapshot/raw_snapshot.h"

namespace pystack::snapshot {

/// Finds the threads that hold what others wait for: the owners that RLocks record, and the threads
/// that are inside of with blocks of locks and semaphores.
class LockHolders {
  public:
    /// All must outlive this.
    LockHolders(const memory::MemoryReader& memory, const cpython::Layout& layout,
                cpython::TypeCache& types, const cpython::LockFinder& locks,
                cpython::FrameObjects& objects)
        : memory_(memory), layout_(layout), types_(types), locks_(locks), objects_(objects) {}

    /// Completes the waits of all threads.
    void find(RawSnapshot& raw);

  private:
    /// A with block of a lock or a semaphore.
    struct Held {
        RemoteAddr object;
        BlockPlace place;
    };

    std::vector<Held> with_blocks(const RawSnapshot& raw);
    /// What the with block holds that exits the object; null: nothing.
    RemoteAddr held_object(const RawSnapshot& raw, const BlockPlace& place, RemoteAddr object);
    bool may_have_released(const RawSnapshot& raw, const BlockPlace& place,
                           const cpython::FoundLock& lock);
    void find_lock_holder(RawWait& wait, const std::vector<Held>& held);

    const memory::MemoryReader& memory_;
    const cpython::Layout& layout_;
    cpython::TypeCache& types_;
    const cpython::LockFinder& locks_;
    cpython::FrameObjects& objects_;
};

}  // namespace pystack::snapshot
