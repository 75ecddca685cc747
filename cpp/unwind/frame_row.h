#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "arch/x86_64/dwarf_registers.h"
#include "modules/frame_section.h"

namespace pystack::unwind {

/// Where the caller's value of one register is.
struct RegisterPlace {
    enum class Kind : std::uint8_t {
        kUnspecified,
        kUndefined,
        kSame,          ///< Still in the register.
        kAtOffset,      ///< In memory, at the CFA plus `number`.
        kIsOffset,      ///< The value is the CFA plus `number`.
        kInRegister,    ///< In register `number`.
        kAtExpression,  ///< In memory, where `expression` says.
        kIsExpression,  ///< What `expression` gives.
    };
    Kind kind = Kind::kUnspecified;
    std::int64_t number = 0;
    std::span<const std::byte> expression;
};

/// What the instructions of a frame entry say for one address in its code.
struct FrameRow {
    std::uint64_t begin = 0;  ///< The first address for which they say the same.
    std::uint64_t cfa_register = 0;
    std::int64_t cfa_offset = 0;
    std::optional<std::span<const std::byte>> cfa_expression;  ///< Instead of the two above.
    std::array<RegisterPlace, arch::kRegisterCount> registers;
};

/// nullopt when the instructions make no sense. Registers that the unwinder does not know are left
/// out.
std::optional<FrameRow> row_at(const modules::FrameEntry& entry, std::uint64_t address);

}  // namespace pystack::unwind
