#pragma once

#include <optional>
#include <span>
#include <vector>

#include "base/address.h"
#include "cpython/layout/layout.h"
#include "cpython/objects/lock_objects.h"
#include "cpython/objects/value_types.h"
#include "memory/memory_reader.h"

namespace pystack::cpython {

struct FoundLock {
    RemoteAddr object;
    LockKind kind = LockKind::kLock;

    bool operator==(const FoundLock&) const = default;
};

/// Finds the locks behind what frames and threads refer to.
class LockFinder {
  public:
    LockFinder(const memory::MemoryReader& memory, const Layout& layout, TypeCache& types)
        : memory_(memory), layout_(layout), types_(types) {}

    /// The lock that an object is, whose bound method it is, or that the Condition uses.
    std::optional<FoundLock> lock_of(RemoteAddr object) const;

    /// The lock that a thread waits for which is blocked in a futex at this address. The address
    /// proves it; where it is the semaphore of a lock, the lock is looked for among `objects`.
    std::optional<FoundLock> waited_lock(RemoteAddr futex,
                                         std::span<const RemoteAddr> objects) const;

    /// Whether the thread that waits for a lock in the futex was woken up already, or may have
    /// been.
    bool may_be_woken(RemoteAddr futex) const;

  private:
    std::optional<FoundLock> parked_lock(RemoteAddr futex) const;
    std::optional<FoundLock> primitive(RemoteAddr object) const;
    std::optional<FoundLock> lock_of_condition(RemoteAddr object) const;

    const memory::MemoryReader& memory_;
    const Layout& layout_;
    TypeCache& types_;
};

}  // namespace pystack::cpython
