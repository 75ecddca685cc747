#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace pystack::arch {

/// One x86-64 instruction, as far as it matters to where the caller's registers are. Registers have
/// the numbers of the instruction set here (4 is rsp, 5 is rbp), not those of DWARF.
struct Instruction {
    enum class Kind : std::uint8_t {
        kOther,
        kPush,         ///< `source`, 64 bits.
        kPop,          ///< `target`
        kMove,         ///< target = source, 64 bits.
        kStore,        ///< memory at target + value = source, 64 bits.
        kLoadAddress,  ///< target = source + value, 64 bits.
        kAdd,          ///< target += value, 64 bits; also what subtracts.
        kAlign,        ///< target &= value, 64 bits.
        kLeave,
        kReturn,
        kJump,    ///< Not conditional: what follows in memory need not follow in time.
        kBranch,  ///< A conditional jump.
        kCall,
    };

    Kind kind = Kind::kOther;
    std::uint8_t size = 0;
    std::uint8_t target = 0;
    std::uint8_t source = 0;
    std::int64_t value =
        0;  ///< Of jumps and calls with has_target: the distance from the next instruction.
    bool has_target = false;  ///< Not through a register or memory.
};

/// The instruction at the beginning of `code`; nullopt for what is none (or is not known here), or
/// is cut.
std::optional<Instruction> decode_instruction(std::span<const std::byte> code);

}  // namespace pystack::arch
