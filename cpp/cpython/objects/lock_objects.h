#pragma once

#include <cstdint>
#include <optional>

#include "base/address.h"
#include "base/result.h"
#include "cpython/layout/layout.h"
#include "memory/memory_reader.h"

namespace pystack::cpython {

/// The state of a _thread.lock or _thread.RLock.
struct LockState {
    bool locked = false;
    std::uint64_t owner = 0;  ///< Thread.ident of the owner of an RLock; 0 if there is none.
    std::uint64_t count = 0;  ///< How often the owner has acquired the RLock.
};

enum class LockKind : std::uint8_t { kLock, kRLock };

/// kCorruptData if the object cannot be a lock of this kind; kOffsetsRejected if the layout does
/// not know such locks. The caller knows the type.
Result<LockState> read_lock(const memory::MemoryReader& reader, const Layout& layout,
                            RemoteAddr lock, LockKind kind);

/// The address of the semaphore that the lock points to (below 3.14), or of its own mutex: what a
/// thread that acquires the lock waits at.
Result<RemoteAddr> lock_address(const memory::MemoryReader& reader, const Layout& layout,
                                RemoteAddr lock, LockKind kind);

}  // namespace pystack::cpython
