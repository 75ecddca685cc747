#include "unwind/prologue_x86_64.h"

#include <algorithm>
#include <array>
#include <cstdint>

#include "arch/x86_64/instruction.h"

namespace pystack::unwind {

namespace {

constexpr std::uint8_t kRsp = 4;
constexpr std::uint8_t kRbp = 5;
constexpr std::int64_t kWordSize = 8;
/// Prologues are done after some twenty instructions, however long the function.
constexpr int kMaxInstructions = 40;

/// DWARF numbers by those of the instruction set.
constexpr std::array<std::uint8_t, 16> kDwarfNumbers = {0, 2, 1,  3,  7,  6,  4,  5,
                                                        8, 9, 10, 11, 12, 13, 14, 15};

/// Where registers are relative to the CFA, the stack pointer before the call.
class Follower {
  public:
    Follower() {
        offsets_[kRsp] = -kWordSize;
        rule_.kind = UnwindRule::Kind::kPlain;
        rule_.saved.fill(UnwindRule::kSame);
    }

    /// False when the rest of the function is not its prologue.
    bool apply(const arch::Instruction& instruction) {
        using Kind = arch::Instruction::Kind;
        const std::uint8_t target = instruction.target;
        const std::uint8_t source = instruction.source;
        switch (instruction.kind) {
            case Kind::kPush:
                if (!offsets_[kRsp]) return false;
                *offsets_[kRsp] -= kWordSize;
                save(source, *offsets_[kRsp]);
                return true;
            case Kind::kStore:
                if (offsets_[target]) save(source, *offsets_[target] + instruction.value);
                return true;
            case Kind::kMove:
                offsets_[target] = offsets_[source];
                return true;
            case Kind::kLoadAddress:
                offsets_[target] = offsets_[source];
                if (offsets_[target]) *offsets_[target] += instruction.value;
                return true;
            case Kind::kAdd:
                // Giving memory back is not what prologues do.
                if (target == kRsp && instruction.value > 0 && has_grown_) return false;
                if (target == kRsp) has_grown_ = true;
                if (offsets_[target]) *offsets_[target] += instruction.value;
                return true;
            case Kind::kAlign:
                offsets_[target].reset();
                return true;
            case Kind::kCall:
            case Kind::kBranch:
            case Kind::kOther:
                return true;
            case Kind::kPop:
            case Kind::kLeave:
            case Kind::kReturn:
            case Kind::kJump:
                return false;
        }
        return false;
    }

    std::optional<UnwindRule> rule() {
        // rsp where it is known; else a register that the function keeps its old value in.
        for (const std::uint8_t base :
             {kRsp, kRbp, std::uint8_t{3}, std::uint8_t{12}, std::uint8_t{13}, std::uint8_t{14},
              std::uint8_t{15}, std::uint8_t{10}, std::uint8_t{11}}) {
            if (!offsets_[base] || *offsets_[base] >= 0) continue;
            rule_.cfa_register = kDwarfNumbers[base];
            rule_.cfa_offset = static_cast<std::int32_t>(-*offsets_[base]);
            return rule_;
        }
        return std::nullopt;
    }

  private:
    void save(std::uint8_t source, std::int64_t offset) {
        const auto place =
            std::find(arch::kPreserved.begin(), arch::kPreserved.end(), kDwarfNumbers[source]);
        if (place == arch::kPreserved.end() || offset >= -kWordSize || offset <= INT16_MIN) return;
        std::int16_t& saved =
            rule_.saved[static_cast<std::size_t>(place - arch::kPreserved.begin())];
        if (saved == UnwindRule::kSame) saved = static_cast<std::int16_t>(offset);
    }

    std::array<std::optional<std::int64_t>, kDwarfNumbers.size()> offsets_;
    UnwindRule rule_;
    bool has_grown_ = false;
};

}  // namespace

std::optional<UnwindRule> follow_prologue(std::span<const std::byte> code) {
    Follower follower;
    for (int i = 0; i < kMaxInstructions && !code.empty(); ++i) {
        const auto instruction = arch::decode_instruction(code);
        if (!instruction || !follower.apply(*instruction)) break;
        code = code.subspan(instruction->size);
    }
    return follower.rule();
}

bool ends_with_call(std::span<const std::byte> code) {
    constexpr std::size_t kShortestCall = 2;
    constexpr std::size_t kLongestCall = 8;
    for (std::size_t size = kShortestCall; size <= std::min(kLongestCall, code.size()); ++size) {
        const auto instruction = arch::decode_instruction(code.last(size));
        if (instruction && instruction->size == size &&
            instruction->kind == arch::Instruction::Kind::kCall)
            return true;
    }
    return false;
}

}  // namespace pystack::unwind
