#pragma once

#include <optional>

#include "cpython/interpreter_walker.h"
#include "model/snapshot.h"
#include "threads/registers.h"

namespace pystack::cpython {

/// The GIL that an interpreter uses, as it was at one moment.
struct Gil {
    bool enabled = true;  ///< false: a free-threaded interpreter that runs without it.
    bool locked = false;
    RemoteAddr holder;  ///< Thread state that holds it, or held it last when not locked.
    std::uint32_t switch_number = 0;
    RemoteRange wait;  ///< A thread in a futex in here waits for the GIL.
    RemoteRange
        forced;  ///< In here: it dropped the GIL on request and waits for the other to take it.
};

/// nullopt when this version does not say, or it cannot be read.
std::optional<Gil> read_gil(const memory::MemoryReader& memory, const Runtime& runtime,
                            RemoteAddr interpreter);

/// What a thread has to do with its interpreter's GIL. `call` is the system call that it is blocked
/// in.
model::GilState gil_state(const Gil& gil, RemoteAddr thread_state,
                          const std::optional<threads::Syscall>& call);

}  // namespace pystack::cpython
