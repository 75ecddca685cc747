#include "arch/x86_64/instruction.h"

#include <cstring>

#include "arch/x86_64/opcode_shape.h"

// The encoding is that of Intel's Software Developer's Manual, volume 2, chapter 2 and appendix A.

namespace pystack::arch {

namespace {

constexpr std::uint8_t kFirstXopMap = 8;

constexpr std::uint8_t kRax = 0;
constexpr std::uint8_t kRsp = 4;
constexpr std::uint8_t kRbp = 5;

class Decoder {
  public:
    explicit Decoder(std::span<const std::byte> code) : code_(code) {}

    std::optional<Instruction> run() {
        take_prefixes();
        take_opcode();
        if (failed_) return std::nullopt;
        OpcodeShape shape = shape_of(map_, opcode_);
        if (!shape.is_valid) return std::nullopt;
        if (shape.has_modrm) take_modrm();
        // F6 and F7 have an operand of their own where they test.
        if (map_ == OpcodeMap::kOneByte && (opcode_ & 0xfe) == 0xf6 && (reg_ & 7) < 2) {
            shape.immediate = opcode_ == 0xf6 ? Immediate::kByte : Immediate::kOperand;
        }
        take_immediate(shape.immediate);
        constexpr std::size_t kMaxSize = 15;
        if (failed_ || position_ > kMaxSize) return std::nullopt;
        Instruction instruction;
        if (map_ == OpcodeMap::kOneByte && !is_vex_) instruction = meaning();
        if (map_ == OpcodeMap::k0F && !is_vex_ && (opcode_ & 0xf0) == 0x80) instruction = branch();
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
                case 0x64:
                case 0x65:
                    has_segment_ = true;
                    continue;
                case 0x67:
                    has_address_prefix_ = true;
                    continue;
                case 0x26:
                case 0x2e:
                case 0x36:
                case 0x3e:
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
            map_ = OpcodeMap::k0F;
            opcode_ = take<std::uint8_t>();
        } else if (opcode_ == 0xc4 || opcode_ == 0x62) {
            is_vex_ = true;
            const bool is_evex = opcode_ == 0x62;
            const std::uint8_t first = take<std::uint8_t>();
            take<std::uint8_t>();
            if (is_evex) take<std::uint8_t>();
            switch (first & (is_evex ? 0x07 : 0x1f)) {
                case 1:
                    map_ = OpcodeMap::k0F;
                    break;
                case 2:
                    map_ = OpcodeMap::k0F38;
                    break;
                case 3:
                    map_ = OpcodeMap::k0F3A;
                    break;
                case 5:
                case 6:
                    map_ = OpcodeMap::kOther;
                    break;
                default:
                    failed_ = true;
            }
            opcode_ = take<std::uint8_t>();
        } else if (opcode_ == 0x8f && (peek() & 0x1f) >= kFirstXopMap) {
            take_xop();
        } else if (opcode_ == 0x0f) {
            map_ = OpcodeMap::k0F;
            opcode_ = take<std::uint8_t>();
            if (opcode_ == 0x38 || opcode_ == 0x3a) {
                map_ = opcode_ == 0x38 ? OpcodeMap::k0F38 : OpcodeMap::k0F3A;
                opcode_ = take<std::uint8_t>();
            }
        }
    }

    /// Instructions of AMD's with a prefix like VEX, in a place where a pop would make no sense.
    void take_xop() {
        is_vex_ = true;
        switch (take<std::uint8_t>() & 0x1f) {
            case kFirstXopMap:
                map_ = OpcodeMap::k0F3A;
                break;
            case kFirstXopMap + 1:
                map_ = OpcodeMap::kOther;
                break;
            default:
                failed_ = true;
        }
        take<std::uint8_t>();
        opcode_ = take<std::uint8_t>();
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
        // Relative to a segment's base (thread-local variables), or to half of the register.
        if (has_segment_ || has_address_prefix_) is_simple_memory_ = false;
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
                immediate_ = has_address_prefix_ ? take<std::int32_t>() : take<std::int64_t>();
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
        // Pushes and pops are of 64 bits without a prefix that says so, and of 16 with the other.
        const bool is_stack_word = is_wide || !has_operand_prefix_;
        if (opcode_ >= 0x50 && opcode_ <= 0x57 && is_stack_word)
            return {.kind = Kind::kPush, .source = low_register};
        if (opcode_ >= 0x58 && opcode_ <= 0x5f && is_stack_word)
            return {.kind = Kind::kPop, .target = low_register};
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
            // Short forms for rax, which have no ModRM byte.
            case 0x05:
                if (is_wide) return {.kind = Kind::kAdd, .target = kRax, .value = immediate_};
                break;
            case 0x2d:
                if (is_wide) return {.kind = Kind::kAdd, .target = kRax, .value = -immediate_};
                break;
            case 0x25:
                if (is_wide) return {.kind = Kind::kAlign, .target = kRax, .value = immediate_};
                break;
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
            case 0x8f:
                if (to_register && is_stack_word) return {.kind = Kind::kPop, .target = rm_};
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
                // Pushes from memory move the stack pointer by as much as those of registers.
                if ((reg_ & 7) == 6 && is_stack_word) {
                    return {.kind = Kind::kPush, .source = to_register ? rm_ : kRax};
                }
                break;
            case 0x68:
            case 0x6a:
                if (is_stack_word) return {.kind = Kind::kPush, .source = kRax};
                break;
            default:
                break;
        }
        return {};
    }

    std::span<const std::byte> code_;
    std::size_t position_ = 0;
    bool failed_ = false;
    bool has_operand_prefix_ = false;
    bool has_segment_ = false;
    bool has_address_prefix_ = false;
    bool is_vex_ = false;
    std::uint8_t rex_ = 0;
    OpcodeMap map_ = OpcodeMap::kOneByte;
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

}  // namespace pystack::arch
