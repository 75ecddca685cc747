#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "arch/registers.h"

/// The DWARF numbers of the registers (System V psABI for x86-64, figure 3.36) and what the
/// unwinder must know of the architecture besides. An aarch64 build has a file like this one.
namespace pystack::arch {

inline constexpr unsigned kRegisterCount = 17;
inline constexpr unsigned kFramePointerRegister = 6;
inline constexpr unsigned kStackPointerRegister = 7;
inline constexpr unsigned kReturnAddressRegister = 16;

/// Registers that a called function must preserve: only these can still matter in an outer frame.
inline constexpr std::array<std::uint8_t, 6> kPreserved = {3, 6, 12, 13, 14, 15};

/// In the order of their DWARF numbers; the last is the pc.
inline std::array<std::uint64_t, kRegisterCount> dwarf_registers(const Registers& registers) {
    const user_regs_struct& raw = registers.raw;
    return {raw.rax, raw.rdx, raw.rcx, raw.rbx, raw.rsi, raw.rdi, raw.rbp, raw.rsp, raw.r8,
            raw.r9,  raw.r10, raw.r11, raw.r12, raw.r13, raw.r14, raw.r15, raw.rip};
}

}  // namespace pystack::arch
