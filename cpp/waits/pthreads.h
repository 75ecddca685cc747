#pragma once

#include <cstdint>
#include <optional>

#include "arch/registers.h"
#include "base/address.h"
#include "memory/memory_reader.h"

namespace pystack::waits {

/// What a thread waits for in a futex, where glibc keeps it. nullopt or false: something else, or
/// that cannot be told.

/// The owner of a pthread mutex: its tid in its own pid namespace. Memory that only looks like a
/// mutex can give any number: the caller has to know the thread.
std::optional<std::int32_t> mutex_owner(const arch::Syscall& call,
                                        const memory::MemoryReader& memory);

/// Whether it is a pthread_cond_t.
bool waits_on_condition(const arch::Syscall& call, const memory::MemoryReader& memory);

/// The thread whose end pthread_join() waits for, as mutex_owner(). glibc 2.43 waits for a word
/// that does not say it.
std::optional<std::int32_t> joined_thread(const arch::Syscall& call,
                                          const memory::MemoryReader& memory);

}  // namespace pystack::waits
