#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "arch/registers.h"
#include "base/address.h"
#include "memory/memory_reader.h"
#include "memory/remote_struct.h"
#include "waits/pthreads.h"

/// The threads of musl (1.1.5 and later), where they differ from those of glibc. Only pthreads.cpp
/// uses this.
namespace pystack::waits::musl {

/// As those of pthreads.h.
std::optional<OwnedMutex> waited_mutex(const arch::Syscall& call,
                                       const memory::MemoryReader& memory);
std::optional<std::int32_t> joined_thread(const arch::Syscall& call,
                                          const memory::MemoryReader& memory);
bool may_wait_on_stack(const arch::Syscall& call);
std::optional<std::vector<RemoteAddr>> condition_futexes(const memory::MemoryReader& memory,
                                                         const memory::RemoteStruct& condition);

}  // namespace pystack::waits::musl
