#pragma once

#include <cstddef>
#include <unordered_map>
#include <vector>

#include "cpython/sync/sync_readers.h"
#include "snapshot/raw_snapshot.h"

namespace pystack::snapshot {

/// Finds who holds what threads wait for: the owners that RLocks record, and the threads and
/// suspended tasks that are inside of with blocks of locks and semaphores.
class LockHolders {
  public:
    /// Must outlive this.
    explicit LockHolders(cpython::SyncReaders& readers) : readers_(readers) {}

    /// Completes the waits of all threads.
    void find(RawSnapshot& raw, cpython::NewCode new_code);

  private:
    /// A with block of a lock or a semaphore.
    struct Held {
        RemoteAddr object;
        BlockPlace place;
    };

    std::vector<Held> with_blocks(const RawSnapshot& raw, cpython::NewCode new_code);
    void add_tasks(const RawSnapshot& raw, cpython::NewCode new_code, std::vector<Held>& held);
    void add_task(const RawSnapshot& raw, std::size_t task, std::size_t thread,
                  cpython::NewCode new_code, std::vector<Held>& held);
    bool may_be_released(const RawSnapshot& raw, const cpython::FoundLock& lock);
    void find_lock_holder(const RawSnapshot& raw, RawWait& wait, const std::vector<Held>& held);

    cpython::SyncReaders& readers_;
    std::unordered_map<RemoteAddr, bool> released_;  ///< By lock: many threads wait for few.
    bool are_tasks_known_ = true;  ///< What they hold, since this was found with kRead.
};

}  // namespace pystack::snapshot
