#include "unwind/dwarf_expression.h"

#include <dwarf.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>

namespace pystack::unwind {

namespace {

/// Real expressions have some ten operations; loops are allowed by the format and used by nobody.
constexpr int kMaxSteps = 256;
constexpr std::size_t kMaxDepth = 32;

class Evaluator {
  public:
    Evaluator(std::span<const DwarfOperation> operations, const ExpressionInput& input,
              std::optional<RemoteAddr>& fault)
        : operations_(operations), input_(input), fault_(fault) {}

    std::optional<ExpressionValue> run() {
        for (int step = 0; step < kMaxSteps; ++step) {
            if (next_ >= operations_.size()) {
                const auto top = pop();
                if (!top) return std::nullopt;
                return ExpressionValue{*top, is_value_};
            }
            if (!apply(operations_[next_++])) return std::nullopt;
        }
        return std::nullopt;
    }

  private:
    bool push(std::uint64_t value) {
        if (depth_ == kMaxDepth) return false;
        stack_[depth_++] = value;
        return true;
    }
    bool push(std::optional<std::uint64_t> value) { return value && push(*value); }

    std::optional<std::uint64_t> pop() {
        if (depth_ == 0) return std::nullopt;
        return stack_[--depth_];
    }

    bool push_register(std::uint64_t number, std::uint64_t offset) {
        if (number >= kRegisterCount) return false;
        const auto value =
            input_.registers.get(static_cast<unsigned>(number), input_.memory, fault_);
        return value && push(*value + offset);
    }

    bool push_nth(std::uint64_t index) {
        return index < depth_ && push(stack_[depth_ - 1 - static_cast<std::size_t>(index)]);
    }

    bool dereference(std::uint64_t size) {
        const auto address = pop();
        std::uint64_t value = 0;
        if (!address || size == 0 || size > sizeof value) return false;
        const auto bytes =
            std::as_writable_bytes(std::span(&value, 1)).first(static_cast<std::size_t>(size));
        if (input_.memory.read_up_to({*address}, bytes) != size) {
            fault_ = RemoteAddr{*address};
            return false;
        }
        return push(value);
    }

    bool branch(const DwarfOperation& operation) {
        // The operand is relative to the end of this operation, which is three bytes long.
        const std::uint64_t target =
            operation.offset + 3 +
            static_cast<std::uint64_t>(static_cast<std::int16_t>(operation.number));
        const auto found =
            std::find_if(operations_.begin(), operations_.end(),
                         [&](const DwarfOperation& other) { return other.offset == target; });
        if (found == operations_.end()) return false;
        next_ = static_cast<std::size_t>(found - operations_.begin());
        return true;
    }

    bool binary(std::uint8_t code) {
        const auto right = pop();
        const auto left = pop();
        if (!right || !left) return false;
        const auto a = *left;
        const auto b = *right;
        const auto signed_a = static_cast<std::int64_t>(a);
        const auto signed_b = static_cast<std::int64_t>(b);
        switch (code) {
            case DW_OP_and:
                return push(a & b);
            case DW_OP_or:
                return push(a | b);
            case DW_OP_xor:
                return push(a ^ b);
            case DW_OP_plus:
                return push(a + b);
            case DW_OP_minus:
                return push(a - b);
            case DW_OP_mul:
                return push(a * b);
            case DW_OP_shl:
                return push(b < 64 ? a << b : 0);
            case DW_OP_shr:
                return push(b < 64 ? a >> b : 0);
            case DW_OP_shra:
                return push(static_cast<std::uint64_t>(signed_a >> std::min<std::uint64_t>(b, 63)));
            case DW_OP_mod:
                return b != 0 && push(a % b);
            case DW_OP_div:
                // The one quotient that does not fit would trap.
                if (b == 0 || (signed_b == -1 && signed_a == INT64_MIN)) return false;
                return push(static_cast<std::uint64_t>(signed_a / signed_b));
            case DW_OP_eq:
                return push(std::uint64_t{a == b});
            case DW_OP_ne:
                return push(std::uint64_t{a != b});
            case DW_OP_lt:
                return push(std::uint64_t{signed_a < signed_b});
            case DW_OP_le:
                return push(std::uint64_t{signed_a <= signed_b});
            case DW_OP_gt:
                return push(std::uint64_t{signed_a > signed_b});
            case DW_OP_ge:
                return push(std::uint64_t{signed_a >= signed_b});
            default:
                return false;
        }
    }

    bool rearrange(const DwarfOperation& operation) {
        switch (operation.code) {
            case DW_OP_dup:
                return push_nth(0);
            case DW_OP_over:
                return push_nth(1);
            case DW_OP_pick:
                return push_nth(operation.number);
            case DW_OP_drop:
                return pop().has_value();
            case DW_OP_swap:
                if (depth_ < 2) return false;
                std::swap(stack_[depth_ - 1], stack_[depth_ - 2]);
                return true;
            case DW_OP_rot:
                if (depth_ < 3) return false;
                std::rotate(stack_.begin() + static_cast<std::ptrdiff_t>(depth_ - 3),
                            stack_.begin() + static_cast<std::ptrdiff_t>(depth_ - 1),
                            stack_.begin() + static_cast<std::ptrdiff_t>(depth_));
                return true;
            default:
                return binary(operation.code);
        }
    }

    bool apply(const DwarfOperation& operation) {
        const std::uint8_t code = operation.code;
        if (code >= DW_OP_lit0 && code <= DW_OP_lit31)
            return push(std::uint64_t{code} - DW_OP_lit0);
        if (code >= DW_OP_breg0 && code <= DW_OP_breg31) {
            return push_register(std::uint64_t{code} - DW_OP_breg0, operation.number);
        }
        if (code >= DW_OP_reg0 && code <= DW_OP_reg31) {
            is_value_ = true;
            return push_register(std::uint64_t{code} - DW_OP_reg0, 0);
        }
        switch (code) {
            case DW_OP_nop:
                return true;
            case DW_OP_addr:
                return push(operation.number + input_.bias);
            case DW_OP_const1u:
            case DW_OP_const1s:
            case DW_OP_const2u:
            case DW_OP_const2s:
            case DW_OP_const4u:
            case DW_OP_const4s:
            case DW_OP_const8u:
            case DW_OP_const8s:
            case DW_OP_constu:
            case DW_OP_consts:
                return push(operation.number);
            case DW_OP_bregx:
                return push_register(operation.number, operation.number2);
            case DW_OP_regx:
                is_value_ = true;
                return push_register(operation.number, 0);
            case DW_OP_call_frame_cfa:
                return push(input_.cfa);
            case DW_OP_stack_value:
                is_value_ = true;
                return true;
            case DW_OP_deref:
                return dereference(sizeof(std::uint64_t));
            case DW_OP_deref_size:
                return dereference(operation.number);
            case DW_OP_skip:
                return branch(operation);
            case DW_OP_bra: {
                const auto condition = pop();
                return condition && (*condition == 0 || branch(operation));
            }
            case DW_OP_plus_uconst:
                return add(operation.number);
            case DW_OP_neg:
                return unary([](std::uint64_t value) { return 0 - value; });
            case DW_OP_not:
                return unary([](std::uint64_t value) { return ~value; });
            case DW_OP_abs:
                return unary(
                    [](std::uint64_t value) { return value >> 63 != 0 ? 0 - value : value; });
            default:
                return rearrange(operation);
        }
    }

    template <class Function>
    bool unary(Function function) {
        const auto value = pop();
        return value && push(function(*value));
    }

    bool add(std::uint64_t number) {
        return unary([number](std::uint64_t value) { return value + number; });
    }

    std::span<const DwarfOperation> operations_;
    const ExpressionInput& input_;
    std::optional<RemoteAddr>& fault_;
    std::array<std::uint64_t, kMaxDepth> stack_{};
    std::size_t depth_ = 0;
    std::size_t next_ = 0;
    bool is_value_ = false;
};

}  // namespace

std::optional<ExpressionValue> evaluate(std::span<const DwarfOperation> operations,
                                        const ExpressionInput& input,
                                        std::optional<RemoteAddr>& fault) {
    return Evaluator(operations, input, fault).run();
}

}  // namespace pystack::unwind
