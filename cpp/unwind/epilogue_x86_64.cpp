#include "unwind/epilogue_x86_64.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <unordered_set>

#include "arch/x86_64/instruction.h"

namespace pystack::unwind {

namespace {

using arch::Instruction;

constexpr std::uint8_t kRsp = 4;
constexpr std::uint8_t kRbp = 5;
constexpr std::int64_t kWordSize = 8;
constexpr std::int64_t kMaxFrame = 1 << 20;
constexpr std::size_t kMaxInstructions = 1000;
constexpr std::size_t kMaxRules = 4;

/// DWARF numbers by those of the instruction set.
constexpr std::array<std::uint8_t, 16> kDwarfNumbers = {0, 2, 1,  3,  7,  6,  4,  5,
                                                        8, 9, 10, 11, 12, 13, 14, 15};

/// Where the stack pointer is, relative to a register whose value is known now.
class Follower {
  public:
    Follower() { places_.fill(kNowhere); }

    /// False when the way is lost.
    bool apply(const Instruction& instruction) {
        using Kind = Instruction::Kind;
        switch (instruction.kind) {
            case Kind::kPush:
                offset_ -= kWordSize;
                return true;
            case Kind::kPop:
                return pop(instruction.target);
            case Kind::kAdd:
                if (instruction.target == kRsp) offset_ += instruction.value;
                return true;
            case Kind::kMove:
            case Kind::kLoadAddress:
                if (instruction.target != kRsp) return true;
                return set(instruction.source,
                           instruction.kind == Kind::kMove ? 0 : instruction.value);
            case Kind::kLeave:
                return set(kRbp, 0) && pop(kRbp);
            case Kind::kAlign:
                return instruction.target != kRsp;
            default:
                return true;
        }
    }

    std::optional<UnwindRule> rule() const {
        const std::int64_t cfa = offset_ + kWordSize;
        if (cfa <= 0 || cfa > kMaxFrame) return std::nullopt;
        UnwindRule rule;
        rule.kind = UnwindRule::Kind::kPlain;
        rule.cfa_register = kDwarfNumbers[base_];
        rule.cfa_offset = static_cast<std::int32_t>(cfa);
        rule.saved.fill(UnwindRule::kSame);
        for (std::size_t i = 0; i < rule.saved.size(); ++i) {
            const std::int64_t place = places_[arch::kPreserved[i]];
            if (place == kNowhere) continue;
            if (place - cfa <= INT16_MIN) return std::nullopt;
            rule.saved[i] = static_cast<std::int16_t>(place - cfa);
        }
        return rule;
    }

  private:
    static constexpr std::int64_t kNowhere = INT64_MAX;

    bool set(std::uint8_t source, std::int64_t distance) {
        if (source == kRsp) {
            offset_ += distance;
            return true;
        }
        // Another register has its value from before this function went on, if nothing was popped
        // into it.
        if (source != kRbp || base_ != kRsp || places_[kDwarfNumbers[kRbp]] != kNowhere)
            return false;
        places_.fill(kNowhere);
        base_ = kRbp;
        offset_ = distance;
        return true;
    }

    bool pop(std::uint8_t target) {
        if (target == kRsp) return false;
        // What was pushed on the way is not the caller's.
        if (base_ == kRbp || offset_ >= 0) places_[kDwarfNumbers[target]] = offset_;
        offset_ += kWordSize;
        return true;
    }

    std::uint8_t base_ = kRsp;
    std::int64_t offset_ = 0;
    std::array<std::int64_t, arch::kRegisterCount> places_{};  // By DWARF number.
};

}  // namespace

std::vector<UnwindRule> follow_epilogue(std::span<const std::byte> code, std::size_t place) {
    struct Way {
        std::size_t place;
        Follower follower;
    };
    std::vector<UnwindRule> rules;
    std::vector<Way> ways = {{place, {}}};
    std::unordered_set<std::size_t> seen;
    while (!ways.empty() && seen.size() < kMaxInstructions && rules.size() < kMaxRules) {
        Way way = ways.back();
        ways.pop_back();
        while (way.place < code.size() && seen.size() < kMaxInstructions &&
               seen.insert(way.place).second) {
            const auto instruction = arch::decode_instruction(code.subspan(way.place));
            if (!instruction) break;
            way.place += instruction->size;
            // Wraps, as it should.
            const std::size_t target = way.place + static_cast<std::size_t>(instruction->value);
            if (instruction->kind == Instruction::Kind::kReturn) {
                const auto rule = way.follower.rule();
                if (rule) rules.push_back(*rule);
                break;
            }
            if (instruction->kind == Instruction::Kind::kJump) {
                if (!instruction->has_target) break;
                way.place = target;
            } else if (instruction->kind == Instruction::Kind::kBranch) {
                if (instruction->has_target) ways.push_back({target, way.follower});
            } else if (!way.follower.apply(*instruction)) {
                break;
            }
        }
    }
    return rules;
}

}  // namespace pystack::unwind
