#include "unwind/frame_row.h"

#include <vector>

#include "modules/dwarf_constants.h"

namespace pystack::unwind {

namespace {

/// Of one entry: the longest functions have some thousand.
constexpr int kMaxInstructions = 1 << 16;
/// Compilers remember one state at a time.
constexpr std::size_t kMaxRemembered = 64;

/// Runs the instructions up to an address.
class Runner {
  public:
    Runner(const modules::FrameEntry& entry, std::uint64_t address)
        : entry_(entry), address_(address) {}

    std::optional<FrameRow> run() {
        row_.begin = entry_.begin;
        if (!run(entry_.first_instructions, 0)) return std::nullopt;
        first_ = row_;
        if (!run(entry_.instructions, entry_.instructions_address)) return std::nullopt;
        return row_;
    }

  private:
    using Kind = RegisterPlace::Kind;

    /// False when something makes no sense.
    bool run(std::span<const std::byte> instructions, std::uint64_t place) {
        modules::ByteCursor cursor(instructions);
        place_ = place;
        is_past_ = false;
        for (int i = 0; cursor.left() > 0 && !is_past_; ++i) {
            if (i == kMaxInstructions) return false;
            if (!apply(cursor) || cursor.failed()) return false;
        }
        return true;
    }

    bool apply(modules::ByteCursor& cursor) {
        const auto code = cursor.take<std::uint8_t>();
        const std::uint8_t operand = code & modules::dwarf::kFrameOperand;
        switch (code & ~modules::dwarf::kFrameOperand) {
            case modules::dwarf::kFrameAdvance:
                advance(operand);
                return true;
            case modules::dwarf::kFrameOffset:
                set(operand, Kind::kAtOffset, factored(cursor.take_uleb128()));
                return true;
            case modules::dwarf::kFrameRestore:
                restore(operand);
                return true;
            default:
                return apply_location(code, cursor) || apply_cfa(code, cursor) ||
                       apply_register(code, cursor);
        }
    }

    bool apply_location(std::uint8_t code, modules::ByteCursor& cursor) {
        switch (code) {
            case modules::dwarf::kFrameNop:
                return true;
            case modules::dwarf::kFrameSetLocation: {
                const auto location = modules::take_encoded(cursor, entry_.encoding, place_, 0);
                if (location) move_to(*location);
                return location.has_value();
            }
            case modules::dwarf::kFrameAdvance1:
                advance(cursor.take_number(1));
                return true;
            case modules::dwarf::kFrameAdvance2:
                advance(cursor.take_number(2));
                return true;
            case modules::dwarf::kFrameAdvance4:
                advance(cursor.take_number(4));
                return true;
            case modules::dwarf::kFrameRememberState:
                if (remembered_.size() == kMaxRemembered) return false;
                remembered_.push_back(row_);
                return true;
            case modules::dwarf::kFrameRestoreState: {
                if (remembered_.empty()) return false;
                const std::uint64_t begin = row_.begin;
                row_ = remembered_.back();
                row_.begin = begin;
                remembered_.pop_back();
                return true;
            }
            case modules::dwarf::kFrameGnuArgumentsSize:
                cursor.take_uleb128();
                return true;
            default:
                return false;
        }
    }

    bool apply_cfa(std::uint8_t code, modules::ByteCursor& cursor) {
        switch (code) {
            case modules::dwarf::kFrameDefineCfa:
                row_.cfa_register = cursor.take_uleb128();
                row_.cfa_offset = static_cast<std::int64_t>(cursor.take_uleb128());
                break;
            case modules::dwarf::kFrameDefineCfaSigned:
                row_.cfa_register = cursor.take_uleb128();
                row_.cfa_offset = factored(static_cast<std::uint64_t>(cursor.take_sleb128()));
                break;
            case modules::dwarf::kFrameDefineCfaRegister:
                row_.cfa_register = cursor.take_uleb128();
                break;
            case modules::dwarf::kFrameDefineCfaOffset:
                row_.cfa_offset = static_cast<std::int64_t>(cursor.take_uleb128());
                break;
            case modules::dwarf::kFrameDefineCfaOffsetSigned:
                row_.cfa_offset = factored(static_cast<std::uint64_t>(cursor.take_sleb128()));
                break;
            case modules::dwarf::kFrameDefineCfaExpression:
                row_.cfa_expression = cursor.take_bytes(cursor.take_uleb128());
                return true;
            default:
                return false;
        }
        row_.cfa_expression.reset();
        return true;
    }

    bool apply_register(std::uint8_t code, modules::ByteCursor& cursor) {
        const std::uint64_t number = cursor.take_uleb128();
        switch (code) {
            case modules::dwarf::kFrameOffsetExtended:
                set(number, Kind::kAtOffset, factored(cursor.take_uleb128()));
                return true;
            case modules::dwarf::kFrameOffsetExtendedSigned:
                set(number, Kind::kAtOffset,
                    factored(static_cast<std::uint64_t>(cursor.take_sleb128())));
                return true;
            case modules::dwarf::kFrameGnuNegativeOffsetExtended:
                set(number, Kind::kAtOffset, factored(0 - cursor.take_uleb128()));
                return true;
            case modules::dwarf::kFrameValueOffset:
                set(number, Kind::kIsOffset, factored(cursor.take_uleb128()));
                return true;
            case modules::dwarf::kFrameValueOffsetSigned:
                set(number, Kind::kIsOffset,
                    factored(static_cast<std::uint64_t>(cursor.take_sleb128())));
                return true;
            case modules::dwarf::kFrameRestoreExtended:
                restore(number);
                return true;
            case modules::dwarf::kFrameUndefined:
                set(number, Kind::kUndefined, 0);
                return true;
            case modules::dwarf::kFrameSameValue:
                set(number, Kind::kSame, 0);
                return true;
            case modules::dwarf::kFrameRegister:
                set(number, Kind::kInRegister, static_cast<std::int64_t>(cursor.take_uleb128()));
                return true;
            case modules::dwarf::kFrameExpression:
                set(number, Kind::kAtExpression, 0, cursor.take_bytes(cursor.take_uleb128()));
                return true;
            case modules::dwarf::kFrameValueExpression:
                set(number, Kind::kIsExpression, 0, cursor.take_bytes(cursor.take_uleb128()));
                return true;
            default:
                return false;
        }
    }

    void advance(std::uint64_t units) { move_to(row_.begin + units * entry_.code_unit); }

    void move_to(std::uint64_t location) {
        if (location > address_) {
            is_past_ = true;
        } else {
            row_.begin = location;
        }
    }

    std::int64_t factored(std::uint64_t number) const {
        return static_cast<std::int64_t>(number * static_cast<std::uint64_t>(entry_.data_unit));
    }

    void set(std::uint64_t number, Kind kind, std::int64_t value,
             std::span<const std::byte> expression = {}) {
        if (number < arch::kRegisterCount) row_.registers[number] = {kind, value, expression};
    }

    void restore(std::uint64_t number) {
        if (number < arch::kRegisterCount) row_.registers[number] = first_.registers[number];
    }

    const modules::FrameEntry& entry_;
    const std::uint64_t address_;
    std::uint64_t place_ = 0;
    bool is_past_ = false;
    FrameRow row_;
    FrameRow first_;
    std::vector<FrameRow> remembered_;
};

}  // namespace

std::optional<FrameRow> row_at(const modules::FrameEntry& entry, std::uint64_t address) {
    return Runner(entry, address).run();
}

}  // namespace pystack::unwind
