#pragma once

#include <optional>
#include <vector>

#include "arch/registers.h"
#include "cpython/runtime/interpreter_walker.h"
#include "memory/remote_struct.h"
#include "model/snapshot.h"

namespace pystack::cpython {

/// The state of a thread that may run Python code: _Py_THREAD_ATTACHED
/// [Include/internal/pycore_pystate.h of 3.13].
inline constexpr std::int32_t kThreadAttached = 1;

/// The GIL that an interpreter uses, as it was at one moment.
struct Gil {
    bool enabled = true;  ///< false: a free-threaded interpreter that runs without it.
    bool locked = false;
    RemoteAddr holder;  ///< Thread state that holds it, or held it last when not locked.
    RemoteRange wait;   ///< A thread in a futex in here waits for the GIL.
    /// A part of `wait`: who wakes another thread here has just released the GIL. (The mutex beside
    /// it is also woken by threads that wait.)
    RemoteRange condition;
    RemoteRange
        forced;  ///< In here: it dropped the GIL on request and waits for the other to take it.
    /// More futexes like those in `wait` and `forced`, see waits::condition_futexes. Only
    /// read_gil() looks for them.
    std::vector<RemoteAddr> wait_futexes{};
    std::vector<RemoteAddr> forced_futexes{};
    bool are_futexes_known = true;  ///< false: they changed while they were read.

    /// Whether a thread that waits in a futex at this address has to do with the GIL.
    bool is_at(RemoteAddr futex) const;
};

/// Where the GIL of an interpreter is; null when that is not known, as in 3.6, whose GIL is several
/// variables. Set before the interpreter is in the list, and never changed.
RemoteAddr gil_address(const memory::MemoryReader& memory, const Runtime& runtime,
                       RemoteAddr interpreter);
/// All that parse_gil() needs lies in so many bytes, before the condition variables.
inline constexpr std::uint64_t kGilBytes = 48;
/// The GIL in these bytes; nullopt if they do not hold what is needed.
std::optional<Gil> parse_gil(const Layout& layout, const memory::RemoteStruct& bytes);

/// nullopt when this version does not say, or it cannot be read.
std::optional<Gil> read_gil(const memory::MemoryReader& memory, const Runtime& runtime,
                            RemoteAddr interpreter);

/// What a thread has to do with its interpreter's GIL. `call` is the system call that it is blocked
/// in.
model::GilState gil_state(const Gil& gil, RemoteAddr thread_state,
                          const std::optional<arch::Syscall>& call);

}  // namespace pystack::cpython
