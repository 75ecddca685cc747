#include "arch/x86_64/opcode_shape.h"

// From appendix A of Intel's Software Developer's Manual, volume 2.

namespace pystack::arch {

namespace {

OpcodeShape shape_of_one_byte(std::uint8_t opcode) {
    if (opcode < 0x40) {
        const std::uint8_t column = opcode & 7;
        if (column < 4) return {.has_modrm = true};
        if (column == 4) return {.immediate = Immediate::kByte};
        if (column == 5) return {.immediate = Immediate::kOperand};
        return {.is_valid =
                    false};  // Segment registers and decimal arithmetic are not of 64-bit mode.
    }
    switch (opcode) {
        case 0x63:
            return {.has_modrm = true};
        case 0x68:
        case 0xa9:
        case 0xe8:
        case 0xe9:
            return {.immediate = Immediate::kOperand};
        case 0x69:
        case 0x81:
        case 0xc7:
            return {.has_modrm = true, .immediate = Immediate::kOperand};
        case 0x6b:
        case 0x80:
        case 0x83:
        case 0xc0:
        case 0xc1:
        case 0xc6:
            return {.has_modrm = true, .immediate = Immediate::kByte};
        case 0x6a:
        case 0xa8:
        case 0xcd:
        case 0xeb:
            return {.immediate = Immediate::kByte};
        case 0xc2:
        case 0xca:
            return {.immediate = Immediate::kWord};
        case 0xc8:
            return {.immediate = Immediate::kWordAndByte};
        case 0x60:
        case 0x61:
        case 0x62:
        case 0x82:
        case 0x9a:
        case 0xc4:
        case 0xc5:
        case 0xce:
        case 0xd4:
        case 0xd5:
        case 0xd6:
        case 0xea:
            return {.is_valid = false};
        default:
            break;
    }
    if (opcode >= 0x70 && opcode <= 0x7f) return {.immediate = Immediate::kByte};
    if (opcode >= 0x84 && opcode <= 0x8f) return {.has_modrm = true};
    if (opcode >= 0xa0 && opcode <= 0xa3) return {.immediate = Immediate::kAddress};
    if (opcode >= 0xb0 && opcode <= 0xb7) return {.immediate = Immediate::kByte};
    if (opcode >= 0xb8 && opcode <= 0xbf) return {.immediate = Immediate::kWide};
    if ((opcode >= 0xd0 && opcode <= 0xd3) || (opcode >= 0xd8 && opcode <= 0xdf))
        return {.has_modrm = true};
    if (opcode >= 0xe0 && opcode <= 0xe7) return {.immediate = Immediate::kByte};
    if (opcode == 0xf6 || opcode == 0xf7 || opcode == 0xfe || opcode == 0xff)
        return {.has_modrm = true};
    return {};
}

OpcodeShape shape_of_0f(std::uint8_t opcode) {
    switch (opcode) {
        case 0x70:
        case 0x71:
        case 0x72:
        case 0x73:
        case 0xa4:
        case 0xac:
        case 0xba:
        case 0xc2:
        case 0xc4:
        case 0xc5:
        case 0xc6:
        case 0x0f:
            return {.has_modrm = true, .immediate = Immediate::kByte};
        case 0x05:
        case 0x06:
        case 0x07:
        case 0x08:
        case 0x09:
        case 0x0b:
        case 0x0e:
        case 0x77:
        case 0xa0:
        case 0xa1:
        case 0xa2:
        case 0xa8:
        case 0xa9:
        case 0xaa:
            return {};
        default:
            break;
    }
    if (opcode >= 0x30 && opcode <= 0x37) return {};
    if (opcode >= 0x80 && opcode <= 0x8f) return {.immediate = Immediate::kOperand};
    if (opcode >= 0xc8 && opcode <= 0xcf) return {};
    return {.has_modrm = true};
}

}  // namespace

OpcodeShape shape_of(OpcodeMap map, std::uint8_t opcode) {
    switch (map) {
        case OpcodeMap::kOneByte:
            return shape_of_one_byte(opcode);
        case OpcodeMap::k0F:
            return shape_of_0f(opcode);
        case OpcodeMap::k0F3A:
            return {.has_modrm = true, .immediate = Immediate::kByte};
        case OpcodeMap::k0F38:
        case OpcodeMap::kOther:
            break;
    }
    return {.has_modrm = true};
}

}  // namespace pystack::arch
