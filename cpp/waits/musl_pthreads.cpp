#include "waits/musl_pthreads.h"

#include <linux/futex.h>

#include <cstddef>

#include "base/cycle_detector.h"
#include "waits/blocked_call.h"

namespace pystack::waits::musl {

namespace {

using memory::MemoryReader;

/// The ends of the list in a pthread_cond_t that one process uses alone; both are null if nobody
/// waits [src/internal/pthread_impl.h: _c_head, _c_tail].
constexpr std::uint64_t kNewest = 8;
constexpr std::uint64_t kOldest = 40;

/// A thread that waits on a condition, on its own stack [struct waiter of
/// src/thread/pthread_cond_timedwait.c]. The futex is `barrier`.
struct Waiter {
    RemoteAddr newer;
    RemoteAddr older;
    std::int32_t state = 0;
    std::int32_t barrier = 0;
    RemoteAddr notified;
};
constexpr std::uint64_t kFutexInWaiter = offsetof(Waiter, barrier);
constexpr std::int32_t kLastState = 2;
constexpr std::int32_t kBarrierClosed = 2;

/// More waiters than this are not followed.
constexpr std::size_t kMostWaiters = 4096;
/// Readings of a list that changes meanwhile.
constexpr int kAttempts = 5;

/// The beginning of pthread_mutex_t [src/internal/pthread_impl.h]. The futex is `lock`, which has
/// the owner unless the mutex is of the usual kind [src/thread/pthread_mutex_timedlock.c].
struct Mutex {
    std::int32_t kind = 0;
    std::uint32_t lock = 0;
    std::int32_t waiters = 0;
};
constexpr std::int32_t kKindBits = 3;
constexpr std::int32_t kRecursive = 1;
constexpr std::int32_t kErrorChecking = 2;
constexpr std::int32_t kSharedBit = 128;
constexpr std::uint32_t kContendedBit = 0x80000000;
constexpr std::uint32_t kOwnerBits = 0x3FFFFFFF;
constexpr std::int32_t kMostWaitersOfMutex = 1 << 22;  // PID_MAX_LIMIT

/// In struct pthread, which begins with a pointer to itself, 1.2 [src/internal/pthread_impl.h].
constexpr std::uint64_t kTid = 48;
constexpr std::uint64_t kDetachState = 56;
constexpr std::uint64_t kExiting = 1;
constexpr std::uint64_t kJoinable = 2;

bool is_aligned(RemoteAddr address) {
    return address.value % alignof(std::uint64_t) == 0;
}

bool is_plausible(const Waiter& waiter) {
    return is_aligned(waiter.newer) && is_aligned(waiter.older) && waiter.state >= 0 &&
           waiter.state <= kLastState && waiter.barrier >= 0 && waiter.barrier <= kBarrierClosed;
}

/// nullopt: it has changed meanwhile, or is no list. A waiter that leaves goes on with its stack,
/// so the end must be the one that the condition has.
std::optional<std::vector<RemoteAddr>> follow(const MemoryReader& memory, RemoteAddr newest,
                                              RemoteAddr oldest) {
    std::vector<RemoteAddr> futexes;
    CycleDetector cycle;
    RemoteAddr last;
    for (RemoteAddr address = newest; address;) {
        if (futexes.size() == kMostWaiters) return futexes;
        if (!is_aligned(address) || cycle.seen(address)) return std::nullopt;
        const auto waiter = memory.read_value<Waiter>(address);
        if (!waiter || !is_plausible(*waiter)) return std::nullopt;
        futexes.push_back(address + kFutexInWaiter);
        last = address;
        address = waiter->older;
    }
    if (last != oldest) return std::nullopt;
    return futexes;
}

}  // namespace

std::optional<std::vector<RemoteAddr>> condition_futexes(const MemoryReader& memory,
                                                         const memory::RemoteStruct& condition) {
    auto newest = condition.pointer(kNewest);
    auto oldest = condition.pointer(kOldest);
    for (int attempt = 0; newest && oldest; ++attempt) {
        // A condition of glibc has small numbers in these places.
        if (!*newest || !*oldest) return std::vector<RemoteAddr>{};
        auto futexes = follow(memory, *newest, *oldest);
        if (futexes || attempt == kAttempts) return futexes;
        const auto newest_now = memory.read_pointer(condition.address() + kNewest);
        const auto oldest_now = memory.read_pointer(condition.address() + kOldest);
        if (!newest_now || !oldest_now) return std::nullopt;
        newest = *newest_now;
        oldest = *oldest_now;
    }
    return std::nullopt;
}

bool may_wait_on_stack(const arch::Syscall& call) {
    const auto futex = waited_futex(call);
    return futex && static_cast<std::uint32_t>(call.argument2) == kBarrierClosed &&
           is_aligned({futex->value - kFutexInWaiter});
}

std::optional<OwnedMutex> waited_mutex(const arch::Syscall& call, const MemoryReader& memory) {
    const auto futex = waited_futex(call);
    if (!futex || futex->value < offsetof(Mutex, lock)) return std::nullopt;
    const RemoteAddr address{futex->value - offsetof(Mutex, lock)};
    if (!is_aligned(address)) return std::nullopt;
    const auto mutex = memory.read_value<Mutex>(address);
    if (!mutex || (mutex->lock & kContendedBit) == 0 ||
        mutex->lock != static_cast<std::uint32_t>(call.argument2)) {
        return std::nullopt;
    }
    const std::int32_t kind = mutex->kind & kKindBits;
    const bool is_shared = (mutex->kind & kSharedBit) != 0;
    const bool is_private = (call.argument1 & FUTEX_PRIVATE_FLAG) != 0;
    if ((mutex->kind & ~(kKindBits | kSharedBit)) != 0 || is_shared == is_private)
        return std::nullopt;
    if (kind != kRecursive && kind != kErrorChecking) return std::nullopt;
    if (mutex->waiters <= 0 || mutex->waiters > kMostWaitersOfMutex) return std::nullopt;
    const std::uint32_t owner = mutex->lock & ~kContendedBit;
    if (owner == 0 || (owner & ~kOwnerBits) != 0) return std::nullopt;
    return OwnedMutex{address, static_cast<std::int32_t>(owner)};
}

std::optional<std::int32_t> joined_thread(const arch::Syscall& call, const MemoryReader& memory) {
    const auto futex = waited_futex(call);
    if (!futex || futex->value < kDetachState) return std::nullopt;
    if (call.argument2 != kExiting && call.argument2 != kJoinable) return std::nullopt;
    const RemoteAddr thread{futex->value - kDetachState};
    if (!is_aligned(thread) || memory.read_pointer(thread) != thread) return std::nullopt;
    const auto state = memory.read_value<std::uint32_t>(*futex);
    const auto tid = memory.read_value<std::int32_t>(thread + kTid);
    const bool is_joined = state && *state == call.argument2 && tid && *tid > 0;
    return is_joined ? std::optional(*tid) : std::nullopt;
}

}  // namespace pystack::waits::musl
