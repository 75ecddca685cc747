#pragma once

#include <cstdint>
#include <optional>

#include "arch/registers.h"
#include "memory/memory_reader.h"

namespace pystack::waits {

/// The owner of the pthread mutex of glibc that a thread waits for which is blocked in this call:
/// its tid in its own pid namespace. nullopt: it waits for something else, or that cannot be told.
/// Memory that only looks like a mutex can give any number: the caller has to know the thread.
std::optional<std::int32_t> mutex_owner(const arch::Syscall& call,
                                        const memory::MemoryReader& memory);

}  // namespace pystack::waits
