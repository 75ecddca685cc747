#include "unwind/unwind_rule.h"

#include <cstddef>
#include <span>

namespace pystack::unwind {

namespace {

constexpr std::uint64_t kWordSize = sizeof(std::uint64_t);

std::optional<std::uint64_t> read_word(const memory::MemoryReader& memory, std::uint64_t address) {
    std::uint64_t value;
    const auto bytes = std::as_writable_bytes(std::span(&value, 1));
    if (memory.read_up_to({address}, bytes) != bytes.size()) return std::nullopt;
    return value;
}

StepResult failure(const std::optional<RemoteAddr>& fault) {
    if (fault) return {StepOutcome::kUnreadable, *fault};
    return {StepOutcome::kFailed, {}};
}

StepResult step_plain(const UnwindRule& rule, const memory::MemoryReader& stack,
                      RegisterState& registers) {
    std::optional<RemoteAddr> fault;
    const auto base = registers.get(rule.cfa_register, stack, fault);
    if (!base) return failure(fault);
    const std::uint64_t cfa = *base + static_cast<std::uint64_t>(std::int64_t{rule.cfa_offset});
    const auto return_address = read_word(stack, cfa - kWordSize);
    if (!return_address) return {StepOutcome::kUnreadable, {cfa - kWordSize}};
    registers.forget_scratch();
    for (std::size_t i = 0; i < arch::kPreserved.size(); ++i) {
        if (rule.saved[i] == UnwindRule::kSame) continue;
        if (rule.saved[i] == UnwindRule::kLost) {
            registers.forget(arch::kPreserved[i]);
        } else {
            registers.set_saved_at(arch::kPreserved[i],
                                   cfa + static_cast<std::uint64_t>(std::int64_t{rule.saved[i]}));
        }
    }
    registers.set(arch::kStackPointerRegister, cfa);
    registers.set(arch::kReturnAddressRegister, *return_address);
    return {StepOutcome::kStepped, {}};
}

StepResult step_general(const UnwindRule& rule, std::uint64_t bias,
                        const memory::MemoryReader& stack, RegisterState& registers) {
    std::optional<RemoteAddr> fault;
    ExpressionInput input{.registers = registers, .memory = stack, .cfa = {}, .bias = bias};
    const auto cfa = evaluate(rule.general->cfa, input, fault);
    if (!cfa) return failure(fault);
    input.cfa = cfa->value;
    RegisterState caller = registers;
    if (!rule.is_signal_frame) caller.forget_scratch();
    caller.set(arch::kStackPointerRegister, cfa->value);
    caller.forget(arch::kReturnAddressRegister);
    for (unsigned number = 0; number < arch::kRegisterCount; ++number) {
        const RegisterRule& from = rule.general->registers[number];
        if (from.kind == RegisterRule::Kind::kUndefined) caller.forget(number);
        if (from.kind != RegisterRule::Kind::kExpression) continue;
        std::optional<RemoteAddr> missing;
        const auto place = evaluate(from.operations, input, missing);
        if (!place) {
            if (number == arch::kReturnAddressRegister || number == arch::kStackPointerRegister)
                return failure(missing);
            caller.forget(number);
        } else if (place->is_value) {
            caller.set(number, place->value);
        } else {
            caller.set_saved_at(number, place->value);
        }
    }
    // These two are needed at once, and a stack that is cut here must be told from one that is not.
    if (!caller.get(arch::kReturnAddressRegister, stack, fault) ||
        !caller.get(arch::kStackPointerRegister, stack, fault)) {
        return failure(fault);
    }
    registers = caller;
    return {StepOutcome::kStepped, {}};
}

}  // namespace

StepResult step(const UnwindRule& rule, std::uint64_t bias, const memory::MemoryReader& stack,
                RegisterState& registers) {
    switch (rule.kind) {
        case UnwindRule::Kind::kPlain:
            return step_plain(rule, stack, registers);
        case UnwindRule::Kind::kGeneral:
            return step_general(rule, bias, stack, registers);
        case UnwindRule::Kind::kOutermost:
            return {StepOutcome::kOutermost, {}};
        case UnwindRule::Kind::kNone:
            break;
    }
    return {StepOutcome::kFailed, {}};
}

}  // namespace pystack::unwind
