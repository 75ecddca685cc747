#include "unwind/instruction_x86_64.h"

#include <cstring>

// The encoding is that of Intel's Software Developer's Manual, volume 2, chapter 2 and appendix A.

namespace pystack::unwind {

namespace {

enum class Map : std::uint8_t { kOneByte, k0F, k0F38, k0F3A, kOther };

enum class Immediate : std::uint8_t {
    kNone,
    kByte,
    kWord,
    kOperand,
    kWide,
    kAddress,
    kWordAndByte
};

struct Shape {
    bool has_modrm = false;
    Immediate immediate = Immediate::kNone;
    bool is_valid = true;
};

Shape shape_of_one_byte(std::uint8_t opcode) {
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

Shape shape_of_0f(std::uint8_t opcode) {
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

constexpr std::uint8_t kRsp = 4;
constexpr std::uint8_t kRbp = 5;

class Decoder {
  public:
    explicit Decoder(std::span<const std::byte> code) : code_(code) {}

    std::optional<Instruction> run() {
        take_prefixes();
        take_opcode();
        if (failed_) return std::nullopt;
        Shape shape;
        switch (map_) {
            case Map::kOneByte:
                shape = shape_of_one_byte(opcode_);
                break;
            case Map::k0F:
                shape = shape_of_0f(opcode_);
                break;
            case Map::k0F3A:
                shape = {.has_modrm = true, .immediate = Immediate::kByte};
                break;
            case Map::k0F38:
            case Map::kOther:
                shape = {.has_modrm = true};
                break;
        }
        if (!shape.is_valid) return std::nullopt;
        if (shape.has_modrm) take_modrm();
        // F6 and F7 have an operand of their own where they test.
        if (map_ == Map::kOneByte && (opcode_ & 0xfe) == 0xf6 && (reg_ & 7) < 2) {
            shape.immediate = opcode_ == 0xf6 ? Immediate::kByte : Immediate::kOperand;
        }
        take_immediate(shape.immediate);
        constexpr std::size_t kMaxSize = 15;
        if (failed_ || position_ > kMaxSize) return std::nullopt;
        Instruction instruction;
        if (map_ == Map::kOneByte && !is_vex_) instruction = meaning();
        if (map_ == Map::k0F && !is_vex_ && (opcode_ & 0xf0) == 0x80) instruction = branch();
        instruction.size = static_cast<std::uint8_t>(position_);
        return instruction;
    }

  private:
    template <class T>
    T take() {
        T value{};
        if (failed_ || code_.size() - position_ < sizeof value) {
            failed_ = true;
            return value;
        }
        std::memcpy(&value, code_.data() + position_, sizeof value);
        position_ += sizeof value;
        return value;
    }

    std::uint8_t peek() const {
        return position_ < code_.size() ? std::to_integer<std::uint8_t>(code_[position_]) : 0;
    }

    void take_prefixes() {
        for (;; ++position_) {
            switch (peek()) {
                case 0x66:
                    has_operand_prefix_ = true;
                    continue;
                case 0x26:
                case 0x2e:
                case 0x36:
                case 0x3e:
                case 0x64:
                case 0x65:
                case 0x67:
                case 0xf0:
                case 0xf2:
                case 0xf3:
                    continue;
                default:
                    break;
            }
            break;
        }
        if ((peek() & 0xf0) == 0x40) rex_ = take<std::uint8_t>();
    }

    void take_opcode() {
        opcode_ = take<std::uint8_t>();
        if (opcode_ == 0xc5) {
            is_vex_ = true;
            take<std::uint8_t>();
            map_ = Map::k0F;
            opcode_ = take<std::uint8_t>();
        } else if (opcode_ == 0xc4 || opcode_ == 0x62) {
            is_vex_ = true;
            const bool is_evex = opcode_ == 0x62;
            const std::uint8_t first = take<std::uint8_t>();
            take<std::uint8_t>();
            if (is_evex) take<std::uint8_t>();
            switch (first & (is_evex ? 0x07 : 0x1f)) {
                case 1:
                    map_ = Map::k0F;
                    break;
                case 2:
                    map_ = Map::k0F38;
                    break;
                case 3:
                    map_ = Map::k0F3A;
                    break;
                case 5:
                case 6:
                    map_ = Map::kOther;
                    break;
                default:
                    failed_ = true;
            }
            opcode_ = take<std::uint8_t>();
        } else if (opcode_ == 0x0f) {
            map_ = Map::k0F;
            opcode_ = take<std::uint8_t>();
            if (opcode_ == 0x38 || opcode_ == 0x3a) {
                map_ = opcode_ == 0x38 ? Map::k0F38 : Map::k0F3A;
                opcode_ = take<std::uint8_t>();
            }
        }
    }

    void take_modrm() {
        const std::uint8_t modrm = take<std::uint8_t>();
        mode_ = modrm >> 6;
        reg_ = static_cast<std::uint8_t>((modrm >> 3 & 7) | ((rex_ & 4) != 0 ? 8 : 0));
        rm_ = modrm & 7;
        if (mode_ != 3) {
            bool has_wide_displacement = mode_ == 2 || (mode_ == 0 && rm_ == kRbp);
            is_simple_memory_ = mode_ != 0 || rm_ != kRbp;  // That one is relative to rip.
            if (rm_ == kRsp) {
                const std::uint8_t sib = take<std::uint8_t>();
                constexpr std::uint8_t kNoIndex = 4;
                is_simple_memory_ = (sib >> 3 & 7) == kNoIndex && (rex_ & 2) == 0;
                rm_ = sib & 7;
                if (mode_ == 0 && rm_ == kRbp) {
                    has_wide_displacement = true;
                    is_simple_memory_ = false;
                }
            }
            if (mode_ == 1) displacement_ = take<std::int8_t>();
            if (has_wide_displacement) displacement_ = take<std::int32_t>();
        }
        if ((rex_ & 1) != 0) rm_ |= 8;
    }

    void take_immediate(Immediate kind) {
        const bool is_wide = (rex_ & 8) != 0;
        switch (kind) {
            case Immediate::kNone:
                break;
            case Immediate::kByte:
                immediate_ = take<std::int8_t>();
                break;
            case Immediate::kWord:
                immediate_ = take<std::int16_t>();
                break;
            case Immediate::kWordAndByte:
                immediate_ = take<std::int16_t>();
                take<std::int8_t>();
                break;
            case Immediate::kAddress:
                immediate_ = take<std::int64_t>();
                break;
            case Immediate::kWide:
                if (is_wide) {
                    immediate_ = take<std::int64_t>();
                    break;
                }
                [[fallthrough]];
            case Immediate::kOperand:
                immediate_ =
                    has_operand_prefix_ && !is_wide ? take<std::int16_t>() : take<std::int32_t>();
                break;
        }
    }

    Instruction branch() const {
        return {.kind = Instruction::Kind::kBranch, .value = immediate_, .has_target = true};
    }

    Instruction meaning() const {
        const bool is_wide = (rex_ & 8) != 0;
        const auto low_register =
            static_cast<std::uint8_t>((opcode_ & 7) | ((rex_ & 1) != 0 ? 8 : 0));
        const bool to_register = mode_ == 3;
        using Kind = Instruction::Kind;
        if (opcode_ >= 0x50 && opcode_ <= 0x57)
            return {.kind = Kind::kPush, .source = low_register};
        if (opcode_ >= 0x58 && opcode_ <= 0x5f) return {.kind = Kind::kPop, .target = low_register};
        if (opcode_ >= 0x70 && opcode_ <= 0x7f) return branch();
        switch (opcode_) {
            case 0x89:
                if (!is_wide) break;
                if (to_register) return {.kind = Kind::kMove, .target = rm_, .source = reg_};
                if (!is_simple_memory_) break;
                return {
                    .kind = Kind::kStore, .target = rm_, .source = reg_, .value = displacement_};
            case 0x8b:
                if (is_wide && to_register)
                    return {.kind = Kind::kMove, .target = reg_, .source = rm_};
                break;
            case 0x8d:
                if (!is_wide || !is_simple_memory_) break;
                return {.kind = Kind::kLoadAddress,
                        .target = reg_,
                        .source = rm_,
                        .value = displacement_};
            case 0x81:
            case 0x83:
                if (!is_wide || !to_register) break;
                if ((reg_ & 7) == 0)
                    return {.kind = Kind::kAdd, .target = rm_, .value = immediate_};
                if ((reg_ & 7) == 5)
                    return {.kind = Kind::kAdd, .target = rm_, .value = -immediate_};
                if ((reg_ & 7) == 4)
                    return {.kind = Kind::kAlign, .target = rm_, .value = immediate_};
                break;
            case 0xc9:
                return {.kind = Kind::kLeave};
            case 0xc2:
            case 0xc3:
                return {.kind = Kind::kReturn};
            case 0xe8:
                return {.kind = Kind::kCall, .value = immediate_, .has_target = true};
            case 0xe9:
            case 0xeb:
                return {.kind = Kind::kJump, .value = immediate_, .has_target = true};
            case 0xff:
                if ((reg_ & 7) == 2) return {.kind = Kind::kCall};
                if ((reg_ & 7) == 4) return {.kind = Kind::kJump};
                // Pushes from memory move the stack pointer by as much as those of registers,
                // whichever.
                if ((reg_ & 7) == 6) return {.kind = Kind::kPush, .source = 0};
                break;
            case 0x68:
            case 0x6a:
                return {.kind = Kind::kPush, .source = 0};
            default:
                break;
        }
        return {};
    }

    std::span<const std::byte> code_;
    std::size_t position_ = 0;
    bool failed_ = false;
    bool has_operand_prefix_ = false;
    bool is_vex_ = false;
    std::uint8_t rex_ = 0;
    Map map_ = Map::kOneByte;
    std::uint8_t opcode_ = 0;
    std::uint8_t mode_ = 0;
    std::uint8_t reg_ = 0;
    std::uint8_t rm_ = 0;
    bool is_simple_memory_ = false;  // A register and a displacement.
    std::int64_t displacement_ = 0;
    std::int64_t immediate_ = 0;
};

}  // namespace

std::optional<Instruction> decode_instruction(std::span<const std::byte> code) {
    return Decoder(code).run();
}

}  // namespace pystack::unwind
