#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "arch/registers.h"
#include "base/address.h"
#include "memory/memory_reader.h"
#include "memory/remote_struct.h"

namespace pystack::waits {

/// What a thread waits for in a futex, where its C library keeps it, glibc or musl: the one place
/// that knows how they differ. nullopt or false: something else, or that cannot be told.

/// A pthread mutex, and its owner: the tid in its own pid namespace.
struct OwnedMutex {
    RemoteAddr address;
    std::int32_t owner = 0;

    bool operator==(const OwnedMutex&) const = default;
};

/// Memory that only looks like a mutex can give any number as its owner: the caller has to know the
/// thread. musl's mutexes have their owner only if they are recursive or check for errors.
std::optional<OwnedMutex> waited_mutex(const arch::Syscall& call,
                                       const memory::MemoryReader& memory);

/// Whether it is a pthread_cond_t of glibc. With musl, a thread that waits alone leaves no proof.
bool waits_on_condition(const arch::Syscall& call, const memory::MemoryReader& memory);

/// The thread whose end pthread_join() waits for, by its tid as that of an owner. glibc 2.43 waits
/// for a word that does not say it.
std::optional<std::int32_t> joined_thread(const arch::Syscall& call,
                                          const memory::MemoryReader& memory);

/// How many bytes of a pthread_cond_t condition_futexes() needs.
inline constexpr std::size_t kConditionBytes = 48;

/// The futexes of the threads that wait on a condition, where they are not in the condition itself:
/// musl has them on the stacks of these threads. glibc: none. nullopt: the condition changed while
/// it was read, or holds what is no list. `condition`: its first kConditionBytes.
std::optional<std::vector<RemoteAddr>> condition_futexes(const memory::MemoryReader& memory,
                                                         const memory::RemoteStruct& condition);

/// Whether the futex may be one of these, of whatever condition, by the arguments of the call
/// alone.
bool may_wait_on_stack(const arch::Syscall& call);

/// Whether the semaphore (sem_t) has been posted, so that a thread that waits for it is woken up,
/// or may have been.
bool may_be_posted(const memory::MemoryReader& memory, RemoteAddr semaphore);

}  // namespace pystack::waits
