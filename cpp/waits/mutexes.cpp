#include "waits/mutexes.h"

#include <linux/futex.h>
#include <sys/syscall.h>

#include "waits/blocked_call.h"

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

bool is_recursive(const Mutex& mutex) {
    return (mutex.kind & kLastKind) == 1;
}

}  // namespace

std::optional<std::int32_t> mutex_owner(const arch::Syscall& call,
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
    return mutex->owner > 0 ? std::optional(mutex->owner) : std::nullopt;
}

}  // namespace pystack::waits
