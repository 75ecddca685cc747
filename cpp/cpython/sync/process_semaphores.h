#pragma once

#include <span>

#include "base/address.h"
#include "cpython/layout/layout.h"
#include "cpython/objects/value_types.h"
#include "memory/memory_reader.h"

namespace pystack::cpython {

/// The semaphore of multiprocessing (SemLock, which its locks are made of) among `objects`, or
/// whose bound method one of them is, that a thread waits for which is blocked in a futex at this
/// address, which proves it. Null if there is none.
RemoteAddr waited_process_semaphore(const memory::MemoryReader& memory, const Layout& layout,
                                    TypeCache& types, RemoteAddr futex,
                                    std::span<const RemoteAddr> objects);

}  // namespace pystack::cpython
