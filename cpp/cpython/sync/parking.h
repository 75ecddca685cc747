#pragma once

#include "base/address.h"
#include "base/result.h"
#include "memory/memory_reader.h"

namespace pystack::cpython {

/// What a thread waits at that is parked by the interpreter (3.13+) and so blocked in a futex: it
/// is a semaphore in the entry of the thread, which is on its own stack. Of a thread that is not
/// parked, the address leads to nothing.
Result<RemoteAddr> parked_at(const memory::MemoryReader& memory, RemoteAddr futex);

}  // namespace pystack::cpython
