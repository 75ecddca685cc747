#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "memory/memory_reader.h"
#include "unwind/register_state.h"

namespace pystack::unwind {

/// One operation of a DWARF expression (DWARF 5, section 2.5), operands decoded.
struct DwarfOperation {
    std::uint8_t code = 0;
    std::uint64_t number = 0;
    std::uint64_t number2 = 0;
    std::uint64_t offset = 0;  ///< Of the operation in its expression: the target of branches.
};

/// Operations that evaluate() does not know are decoded as if they had no operands. nullopt when
/// the bytes end within an operation, or there are more than any real expression has.
std::optional<std::vector<DwarfOperation>> decode_expression(std::span<const std::byte> bytes);

/// What an expression is evaluated for.
struct ExpressionInput {
    RegisterState& registers;
    const memory::MemoryReader& memory;
    std::optional<std::uint64_t> cfa;  ///< For DW_OP_call_frame_cfa.
    std::uint64_t bias = 0;            ///< Added to the addresses in the expression.
};

struct ExpressionValue {
    std::uint64_t value = 0;
    bool is_value = false;  ///< Ended with DW_OP_stack_value (or names a register): not an address.
};

/// Runs the operations that call frame information uses. nullopt when one is unknown, a register
/// has no known value, memory cannot be read (`fault` is its address then), or the expression does
/// not end.
std::optional<ExpressionValue> evaluate(std::span<const DwarfOperation> operations,
                                        const ExpressionInput& input,
                                        std::optional<RemoteAddr>& fault);

}  // namespace pystack::unwind
