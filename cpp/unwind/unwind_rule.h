#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "memory/memory_reader.h"
#include "unwind/dwarf_expression.h"
#include "unwind/register_state.h"

namespace pystack::unwind {

/// What the tables say of one register of the caller, for the few rules that are not plain.
struct RegisterRule {
    enum class Kind : std::uint8_t {
        kSame,       ///< Unchanged by the frame.
        kUndefined,  ///< Lost.
        kExpression  ///< `operations` give its value, or the address where it was saved.
    };
    Kind kind = Kind::kSame;
    std::vector<DwarfOperation> operations;
};

struct GeneralRule {
    std::vector<DwarfOperation> cfa;
    std::array<RegisterRule, arch::kRegisterCount> registers;
};

/// How to get from the registers of a frame to those of its caller, for one pc. Nearly all rules of
/// compilers are plain: CFA = register + offset, return address at CFA - 8, other registers
/// unchanged or saved at CFA + offset.
struct UnwindRule {
    enum class Kind : std::uint8_t {
        kNone,       ///< The tables have nothing for this pc.
        kOutermost,  ///< There is no caller: the return address is marked undefined.
        kPlain,
        kGeneral,  ///< See `general`.
    };

    static constexpr std::int16_t kSame = INT16_MAX;
    static constexpr std::int16_t kLost = INT16_MAX - 1;

    Kind kind = Kind::kNone;
    /// The caller was interrupted by a signal: its pc is exact and its stack may be anywhere.
    bool is_signal_frame = false;
    std::uint8_t cfa_register = 0;
    std::int32_t cfa_offset = 0;
    /// In the order of kPreserved: an offset from the CFA, kSame or kLost.
    std::array<std::int16_t, arch::kPreserved.size()> saved{};
    const GeneralRule* general = nullptr;  ///< Owned by the CfiTable.
};

enum class StepOutcome : std::uint8_t {
    kStepped,
    kOutermost,
    kUnreadable,  ///< `fault` says where.
    kFailed,      ///< The rule needs a register whose value is not known, or makes no sense.
};

struct StepResult {
    StepOutcome outcome = StepOutcome::kFailed;
    RemoteAddr fault{};
};

/// Turns the registers of a frame into those of its caller; they are undefined unless the outcome
/// is kStepped. `bias` is that of the module the rule is from. Reads nothing but `stack`.
StepResult step(const UnwindRule& rule, std::uint64_t bias, const memory::MemoryReader& stack,
                RegisterState& registers);

}  // namespace pystack::unwind
