#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "arch/registers.h"
#include "base/address.h"
#include "memory/memory_reader.h"

namespace pystack::waits {

enum class CallKind : std::uint8_t {
    kFutex,       ///< `address` is that of the futex.
    kSleep,       ///< Nothing but time.
    kPoll,        ///< `count` files, or an epoll `fd`.
    kDescriptor,  ///< Reading from or writing to `fd`, or connecting it.
    kFileLock,    ///< A lock of the file `fd`.
    kChild,       ///< `pid`, or any child.
    kSignal,
};

/// What a thread waits for that is blocked in a system call, by the call's arguments alone.
struct BlockedCall {
    CallKind kind = CallKind::kFutex;
    const char* name = "";  ///< Of the system call.
    RemoteAddr address;
    std::optional<std::int32_t> fd;
    std::optional<std::int32_t> pid;
    std::optional<std::uint64_t> count;
    bool is_timed = false;  ///< The call ends at some time.
    /// How long the call was to take, when it began; absent for those that name a point in time.
    std::optional<std::int64_t> timeout_ns;
    /// The point in time at which it ends, of this clock (CLOCK_*).
    std::optional<std::int64_t> deadline_ns;
    int clock = 0;
};

/// nullopt: the call is one that does not wait, or is not known. `memory` has the structures that
/// the arguments point to.
std::optional<BlockedCall> describe_call(const arch::Syscall& call,
                                         const memory::MemoryReader& memory);

/// The number of the system call whose instruction ends at `pc`, if the instruction before it says
/// so: restart_syscall is made with the registers of the call that it continues, at the same place.
std::optional<std::int64_t> call_before(const memory::MemoryReader& memory, RemoteAddr pc);

/// The same, by the function of the kernel that the thread sleeps in ("wchan").
std::optional<std::int64_t> restarted_call(std::string_view kernel_function);

/// Whether a call waits for a child to end, and not to stop or to go on as well.
bool waits_for_end(const arch::Syscall& call);

/// Whether a call that waits for a descriptor writes to it; `name` is that of BlockedCall.
bool is_write(std::string_view name);

/// Whether the thread waits in a futex, and its address: a wait, not a wake.
std::optional<RemoteAddr> waited_futex(const arch::Syscall& call);

}  // namespace pystack::waits
