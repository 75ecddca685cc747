#include "cpython/sync/parking.h"

namespace pystack::cpython {

namespace {

/// struct wait_entry {void *park_arg; uintptr_t addr; _PySemaphore sema; ...}
/// [Python/parking_lot.c, 3.13 to 3.15].
constexpr std::uint64_t kSemaphoreInEntry = 16;
constexpr std::uint64_t kAddressInEntry = 8;

}  // namespace

Result<RemoteAddr> parked_at(const memory::MemoryReader& memory, RemoteAddr futex) {
    if (futex.value < kSemaphoreInEntry) {
        return fail(Error{.code = ErrorCode::kCorruptData, .address = futex, .what = "futex"});
    }
    return memory.read_pointer({futex.value - kSemaphoreInEntry + kAddressInEntry});
}

}  // namespace pystack::cpython
