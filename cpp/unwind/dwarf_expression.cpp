#include "unwind/dwarf_expression.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>

#include "modules/byte_cursor.h"
#include "modules/dwarf_constants.h"

namespace pystack::unwind {

namespace {

/// Real expressions have some ten operations; loops are allowed by the format and used by nobody.
constexpr int kMaxSteps = 256;
constexpr std::size_t kMaxDepth = 32;

/// What is decoded of one: far more than an expression that ends within kMaxSteps needs.
constexpr std::size_t kMaxOperations = 1024;

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
        if (number >= arch::kRegisterCount) return false;
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
            case modules::dwarf::kOpAnd:
                return push(a & b);
            case modules::dwarf::kOpOr:
                return push(a | b);
            case modules::dwarf::kOpXor:
                return push(a ^ b);
            case modules::dwarf::kOpPlus:
                return push(a + b);
            case modules::dwarf::kOpMinus:
                return push(a - b);
            case modules::dwarf::kOpMul:
                return push(a * b);
            case modules::dwarf::kOpShl:
                return push(b < 64 ? a << b : 0);
            case modules::dwarf::kOpShr:
                return push(b < 64 ? a >> b : 0);
            case modules::dwarf::kOpShra:
                return push(static_cast<std::uint64_t>(signed_a >> std::min<std::uint64_t>(b, 63)));
            case modules::dwarf::kOpMod:
                return b != 0 && push(a % b);
            case modules::dwarf::kOpDiv:
                // The one quotient that does not fit would trap.
                if (b == 0 || (signed_b == -1 && signed_a == INT64_MIN)) return false;
                return push(static_cast<std::uint64_t>(signed_a / signed_b));
            case modules::dwarf::kOpEq:
                return push(std::uint64_t{a == b});
            case modules::dwarf::kOpNe:
                return push(std::uint64_t{a != b});
            case modules::dwarf::kOpLt:
                return push(std::uint64_t{signed_a < signed_b});
            case modules::dwarf::kOpLe:
                return push(std::uint64_t{signed_a <= signed_b});
            case modules::dwarf::kOpGt:
                return push(std::uint64_t{signed_a > signed_b});
            case modules::dwarf::kOpGe:
                return push(std::uint64_t{signed_a >= signed_b});
            default:
                return false;
        }
    }

    bool rearrange(const DwarfOperation& operation) {
        switch (operation.code) {
            case modules::dwarf::kOpDuplicate:
                return push_nth(0);
            case modules::dwarf::kOpOver:
                return push_nth(1);
            case modules::dwarf::kOpPick:
                return push_nth(operation.number);
            case modules::dwarf::kOpDrop:
                return pop().has_value();
            case modules::dwarf::kOpSwap:
                if (depth_ < 2) return false;
                std::swap(stack_[depth_ - 1], stack_[depth_ - 2]);
                return true;
            case modules::dwarf::kOpRotate:
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
        if (code >= modules::dwarf::kOpLit0 && code <= modules::dwarf::kOpLit31)
            return push(std::uint64_t{code} - modules::dwarf::kOpLit0);
        if (code >= modules::dwarf::kOpBreg0 && code <= modules::dwarf::kOpBreg31) {
            return push_register(std::uint64_t{code} - modules::dwarf::kOpBreg0, operation.number);
        }
        if (code >= modules::dwarf::kOpReg0 && code <= modules::dwarf::kOpReg31) {
            is_value_ = true;
            return push_register(std::uint64_t{code} - modules::dwarf::kOpReg0, 0);
        }
        switch (code) {
            case modules::dwarf::kOpNop:
                return true;
            case modules::dwarf::kOpAddress:
                return push(operation.number + input_.bias);
            case modules::dwarf::kOpConst1u:
            case modules::dwarf::kOpConst1s:
            case modules::dwarf::kOpConst2u:
            case modules::dwarf::kOpConst2s:
            case modules::dwarf::kOpConst4u:
            case modules::dwarf::kOpConst4s:
            case modules::dwarf::kOpConst8u:
            case modules::dwarf::kOpConst8s:
            case modules::dwarf::kOpConstu:
            case modules::dwarf::kOpConsts:
                return push(operation.number);
            case modules::dwarf::kOpBregX:
                return push_register(operation.number, operation.number2);
            case modules::dwarf::kOpRegX:
                is_value_ = true;
                return push_register(operation.number, 0);
            case modules::dwarf::kOpCallFrameCfa:
                return push(input_.cfa);
            case modules::dwarf::kOpStackValue:
                is_value_ = true;
                return true;
            case modules::dwarf::kOpDereference:
                return dereference(sizeof(std::uint64_t));
            case modules::dwarf::kOpDereferenceSize:
                return dereference(operation.number);
            case modules::dwarf::kOpSkip:
                return branch(operation);
            case modules::dwarf::kOpBranch: {
                const auto condition = pop();
                return condition && (*condition == 0 || branch(operation));
            }
            case modules::dwarf::kOpPlusUConst:
                return add(operation.number);
            case modules::dwarf::kOpNeg:
                return unary([](std::uint64_t value) { return 0 - value; });
            case modules::dwarf::kOpNot:
                return unary([](std::uint64_t value) { return ~value; });
            case modules::dwarf::kOpAbs:
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

/// Of the operations that have any, and that evaluate() knows.
void take_operands(modules::ByteCursor& cursor, DwarfOperation& operation) {
    const auto sign_extended = [](std::int64_t value) { return static_cast<std::uint64_t>(value); };
    const std::uint8_t code = operation.code;
    if (code >= modules::dwarf::kOpBreg0 && code <= modules::dwarf::kOpBreg31) {
        operation.number = sign_extended(cursor.take_sleb128());
        return;
    }
    switch (code) {
        case modules::dwarf::kOpConst1u:
        case modules::dwarf::kOpPick:
        case modules::dwarf::kOpDereferenceSize:
            operation.number = cursor.take_number(1);
            break;
        case modules::dwarf::kOpConst1s:
            operation.number = sign_extended(cursor.take<std::int8_t>());
            break;
        case modules::dwarf::kOpConst2u:
            operation.number = cursor.take_number(2);
            break;
        case modules::dwarf::kOpConst2s:
        case modules::dwarf::kOpSkip:
        case modules::dwarf::kOpBranch:
            operation.number = sign_extended(cursor.take<std::int16_t>());
            break;
        case modules::dwarf::kOpConst4u:
            operation.number = cursor.take_number(4);
            break;
        case modules::dwarf::kOpConst4s:
            operation.number = sign_extended(cursor.take<std::int32_t>());
            break;
        case modules::dwarf::kOpAddress:
        case modules::dwarf::kOpConst8u:
        case modules::dwarf::kOpConst8s:
            operation.number = cursor.take_number(8);
            break;
        case modules::dwarf::kOpConstu:
        case modules::dwarf::kOpPlusUConst:
        case modules::dwarf::kOpRegX:
            operation.number = cursor.take_uleb128();
            break;
        case modules::dwarf::kOpConsts:
            operation.number = sign_extended(cursor.take_sleb128());
            break;
        case modules::dwarf::kOpBregX:
            operation.number = cursor.take_uleb128();
            operation.number2 = sign_extended(cursor.take_sleb128());
            break;
        default:
            break;
    }
}

}  // namespace

std::optional<std::vector<DwarfOperation>> decode_expression(std::span<const std::byte> bytes) {
    std::vector<DwarfOperation> operations;
    modules::ByteCursor cursor(bytes);
    while (cursor.left() > 0) {
        if (operations.size() == kMaxOperations) return std::nullopt;
        DwarfOperation operation{.offset = cursor.position()};
        operation.code = cursor.take<std::uint8_t>();
        take_operands(cursor, operation);
        if (cursor.failed()) return std::nullopt;
        operations.push_back(operation);
    }
    return operations;
}

std::optional<ExpressionValue> evaluate(std::span<const DwarfOperation> operations,
                                        const ExpressionInput& input,
                                        std::optional<RemoteAddr>& fault) {
    return Evaluator(operations, input, fault).run();
}

}  // namespace pystack::unwind
