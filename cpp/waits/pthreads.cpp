#include "waits/pthreads.h"

#include <linux/futex.h>
#include <sys/syscall.h>

#include <cstddef>

#include "waits/blocked_call.h"
#include "waits/musl_pthreads.h"

namespace pystack::waits {

namespace {

/// The beginning of pthread_mutex_t [glibc sysdeps/x86/nptl/bits/struct_mutex.h, 2.3 to 2.42]. The
/// futex is its first word.
struct Mutex {
    std::int32_t lock = 0;
    std::uint32_t count = 0;
    std::int32_t owner = 0;
    std::uint32_t users = 0;
    std::int32_t kind = 0;
};

/// Of `lock`, and what waiters expect there: it is locked, and somebody waits.
constexpr std::int32_t kContended = 2;
/// PTHREAD_MUTEX_TIMED_NP to ADAPTIVE_NP; robust ones and those with priorities have other words in
/// `lock`. The other bits say whether locks are elided, and whether processes share it.
constexpr std::int32_t kLastKind = 3;
constexpr std::int32_t kIgnoredKindBits = 0x380;
constexpr std::uint32_t kMostUsers = 1 << 22;  // PID_MAX_LIMIT

/// pthread_cond_t of glibc 2.25 to 2.40, and of 2.41 and later, which has no `references`
/// [sysdeps/nptl/bits/thread-shared-types.h]. The futexes are `signals`, one of each of two groups
/// of waiters [nptl/pthread_cond_wait.c].
struct OldCondition {
    std::uint64_t sequence = 0;  ///< Of waiters, times 2.
    std::uint64_t group_start = 0;
    std::uint32_t references[2]{};
    std::uint32_t sizes[2]{};
    std::uint32_t first_size = 0;
    std::uint32_t waiters = 0;  ///< Times 8, and flags.
    std::uint32_t signals[2]{};

    /// A waiter expects that nothing was signaled.
    bool has_waiter_in(std::size_t group, std::uint32_t expected) const {
        return references[group] >= 2 && expected == 0;
    }
};
struct NewCondition {
    std::uint64_t sequence = 0;
    std::uint64_t group_start = 0;
    std::uint32_t sizes[2]{};
    std::uint32_t first_size = 0;
    std::uint32_t waiters = 0;
    std::uint32_t signals[2]{};
    std::uint32_t unused[2]{};

    bool has_waiter_in(std::size_t, std::uint32_t) const {
        return unused[0] == 0 && unused[1] == 0;
    }
};
constexpr std::uint32_t kSharedFlag = 1;

/// Whether the thread waits in the futex of this group of a condition.
template <class Condition>
bool is_of_condition(const arch::Syscall& call, std::size_t group,
                     const memory::MemoryReader& memory) {
    const RemoteAddr futex{call.argument0};
    const bool is_private = (call.argument1 & FUTEX_PRIVATE_FLAG) != 0;
    const std::uint64_t offset = offsetof(Condition, signals) + group * sizeof(std::uint32_t);
    if (futex.value < offset || (futex.value - offset) % alignof(std::uint64_t) != 0) return false;
    const auto condition = memory.read_value<Condition>({futex.value - offset});
    if (!condition) return false;
    const std::uint32_t waiters = condition->waiters >> 3;
    const bool is_shared = (condition->waiters & kSharedFlag) != 0;
    if (waiters == 0 || waiters > kMostUsers || is_shared == is_private) return false;
    // Each waiter has taken a number, and groups do not begin in the future.
    if (condition->sequence >> 1 < waiters) return false;
    if (condition->group_start >> 1 > condition->sequence >> 1) return false;
    return condition->has_waiter_in(group, static_cast<std::uint32_t>(call.argument2));
}

bool is_recursive(const Mutex& mutex) {
    return (mutex.kind & kLastKind) == 1;
}

std::optional<OwnedMutex> glibc_mutex(const arch::Syscall& call,
                                      const memory::MemoryReader& memory) {
    const auto futex = waited_futex(call);
    if (!futex || futex->value % alignof(std::uint64_t) != 0) return std::nullopt;
    if (static_cast<std::uint32_t>(call.argument2) != kContended) return std::nullopt;
    const auto mutex = memory.read_value<Mutex>(*futex);
    if (!mutex || mutex->lock != kContended) return std::nullopt;
    if ((mutex->kind & ~kIgnoredKindBits) < 0 || (mutex->kind & ~kIgnoredKindBits) > kLastKind)
        return std::nullopt;
    if (mutex->users == 0 || mutex->users > kMostUsers) return std::nullopt;
    if ((mutex->count != 0) != is_recursive(*mutex)) return std::nullopt;
    if (mutex->owner <= 0) return std::nullopt;
    return OwnedMutex{*futex, mutex->owner};
}

/// Whoever joins waits for the word in which the kernel clears the tid: not a private futex
/// [nptl/pthread_join_common.c; clone(2), CLONE_CHILD_CLEARTID].
std::optional<std::int32_t> glibc_joined_thread(const arch::Syscall& call,
                                                const memory::MemoryReader& memory) {
    const auto futex = waited_futex(call);
    if (!futex || (call.argument1 & FUTEX_PRIVATE_FLAG) != 0) return std::nullopt;
    // The word is in struct pthread, which begins with a pointer to itself, and has another one
    // [nptl/descr.h].
    constexpr std::uint64_t kTid = 0x2D0;
    constexpr std::uint64_t kSelf = 0x10;
    if (futex->value < kTid) return std::nullopt;
    const RemoteAddr thread{futex->value - kTid};
    if (memory.read_pointer(thread) != thread || memory.read_pointer(thread + kSelf) != thread)
        return std::nullopt;
    const auto tid = memory.read_value<std::int32_t>(*futex);
    const auto expected = static_cast<std::int32_t>(static_cast<std::uint32_t>(call.argument2));
    return tid && *tid > 0 && *tid == expected ? std::optional(*tid) : std::nullopt;
}

/// The values of a sem_t [musl src/thread/sem_timedwait.c]: all bits are set, or this one, if a
/// thread waits and it was not posted, with musl up to 1.2.3 and after it. glibc never sets it.
constexpr std::uint32_t kWaitedForBit = 0x80000000;

}  // namespace

std::optional<OwnedMutex> waited_mutex(const arch::Syscall& call,
                                       const memory::MemoryReader& memory) {
    const auto mutex = glibc_mutex(call, memory);
    return mutex ? mutex : musl::waited_mutex(call, memory);
}

std::optional<std::int32_t> joined_thread(const arch::Syscall& call,
                                          const memory::MemoryReader& memory) {
    const auto joined = glibc_joined_thread(call, memory);
    return joined ? joined : musl::joined_thread(call, memory);
}

bool waits_on_condition(const arch::Syscall& call, const memory::MemoryReader& memory) {
    if (!waited_futex(call)) return false;
    for (const std::size_t group : {0, 1}) {
        if (is_of_condition<OldCondition>(call, group, memory) ||
            is_of_condition<NewCondition>(call, group, memory)) {
            return true;
        }
    }
    return false;
}

std::optional<std::vector<RemoteAddr>> condition_futexes(const memory::MemoryReader& memory,
                                                         const memory::RemoteStruct& condition) {
    return musl::condition_futexes(memory, condition);
}

bool may_wait_on_stack(const arch::Syscall& call) {
    return musl::may_wait_on_stack(call);
}

bool may_be_posted(const memory::MemoryReader& memory, RemoteAddr semaphore) {
    const auto value = memory.read_value<std::uint32_t>(semaphore);
    if (!value || *value == ~std::uint32_t{0}) return !value;
    return (*value & ~kWaitedForBit) != 0;
}

}  // namespace pystack::waits
