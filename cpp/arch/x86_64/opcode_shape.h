#pragma once

#include <cstdint>

namespace pystack::arch {

/// The tables of opcodes, by the bytes in front of the opcode.
enum class OpcodeMap : std::uint8_t { kOneByte, k0F, k0F38, k0F3A, kOther };

enum class Immediate : std::uint8_t {
    kNone,
    kByte,
    kWord,
    kOperand,  ///< 32 bits, or 16 with an operand size prefix.
    kWide,     ///< The same, and 64 with REX.W.
    kAddress,  ///< 64 bits, or 32 with an address size prefix.
    kWordAndByte
};

/// What follows an opcode.
struct OpcodeShape {
    bool has_modrm = false;
    Immediate immediate = Immediate::kNone;
    bool is_valid = true;  ///< In 64-bit mode.
};

/// The operands of F6 and F7 depend on their ModRM byte: see there.
OpcodeShape shape_of(OpcodeMap map, std::uint8_t opcode);

}  // namespace pystack::arch
