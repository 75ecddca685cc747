#pragma once

#include <sys/user.h>

#include <cstdint>
#include <optional>

#include "base/address.h"

namespace pystack::arch {

/// A system call a thread is inside of, with its first arguments.
struct Syscall {
    std::int64_t number = -1;
    std::uint64_t argument0 = 0;
    std::uint64_t argument1 = 0;
    std::uint64_t argument2 = 0;
    std::uint64_t argument3 = 0;
    std::uint64_t argument4 = 0;

    bool operator==(const Syscall&) const = default;
};

/// The general registers of one thread. The one place that names an architecture's registers.
struct Registers {
    user_regs_struct raw{};

#if defined(__x86_64__)
    RemoteAddr pc() const { return {raw.rip}; }
    RemoteAddr sp() const { return {raw.rsp}; }
    /// The thread pointer: equals pthread_t on glibc and musl.
    RemoteAddr thread_pointer() const { return {raw.fs_base}; }
    /// nullopt when the thread was running user code.
    std::optional<Syscall> syscall() const {
        const auto number = static_cast<std::int64_t>(raw.orig_rax);
        if (number < 0) return std::nullopt;
        return Syscall{.number = number,
                       .argument0 = raw.rdi,
                       .argument1 = raw.rsi,
                       .argument2 = raw.rdx,
                       .argument3 = raw.r10,
                       .argument4 = raw.r8};
    }
#else
#error "registers.h: only x86-64 so far; aarch64 needs its accessors here"
#endif
};

#if defined(__x86_64__)
/// Both name a futex wait: the kernel turns an interrupted one with a timeout into restart_syscall,
/// whose argument registers are still those of the futex call.
inline constexpr std::int64_t kFutexSyscall = 202;
inline constexpr std::int64_t kRestartSyscall = 219;
#endif

}  // namespace pystack::arch
