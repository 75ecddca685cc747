#pragma once

#include <vector>

#include "cpython/sync/held_objects.h"
#include "memory/memory_reader.h"
#include "snapshot/raw_snapshot.h"

namespace pystack::snapshot {

/// Finds the threads that hold what others wait for: the owners that RLocks record, and the threads
/// that are inside of with blocks of locks and semaphores.
class LockHolders {
  public:
    /// All must outlive this.
    LockHolders(const memory::MemoryReader& memory, const cpython::Layout& layout,
                cpython::HeldObjects& held)
        : memory_(memory), layout_(layout), held_(held) {}

    /// Completes the waits of all threads.
    void find(RawSnapshot& raw);

  private:
    /// A with block of a lock or a semaphore.
    struct Held {
        RemoteAddr object;
        BlockPlace place;
    };

    std::vector<Held> with_blocks(const RawSnapshot& raw);
    void find_lock_holder(RawWait& wait, const std::vector<Held>& held);

    const memory::MemoryReader& memory_;
    const cpython::Layout& layout_;
    cpython::HeldObjects& held_;
};

}  // namespace pystack::snapshot
