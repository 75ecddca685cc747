#include "unwind/native_unwinder.h"

#include <cstdint>
#include <span>

#include "unwind/perf_trampoline.h"

namespace pystack::unwind {

namespace {

/// How often a stack may be left for another one (signal handlers on a stack of their own): more is
/// a stack that points at itself.
constexpr int kMaxStackChanges = 8;

}  // namespace

struct NativeUnwinder::Walk {
    const memory::MemoryReader& stack;
    RegisterState registers;
    RemoteAddr pc;
    RemoteAddr sp;
    bool is_activation = true;
    modules::FrameOrigin origin = modules::FrameOrigin::kRegisters;
    int stack_changes = 0;

    std::uint64_t value_of(unsigned number) {
        std::optional<RemoteAddr> ignored;
        return registers.get(number, stack, ignored).value_or(0);
    }
};

Result<std::unique_ptr<NativeUnwinder>> NativeUnwinder::create(
    const target::Target& target, modules::DebugFileOptions debug_files) {
    std::unique_ptr<NativeUnwinder> unwinder(new NativeUnwinder(target, std::move(debug_files)));
    PYSTACK_CHECK(unwinder->update_modules());
    return unwinder;
}

Result<void> NativeUnwinder::update_modules() {
    PYSTACK_TRY(changed, code_map_.update());
    if (changed) rules_.clear();
    return {};
}

modules::UnwindResult NativeUnwinder::unwind(const arch::Registers& registers,
                                             const memory::MemoryReader& stack,
                                             const modules::UnwindLimits& limits,
                                             std::vector<modules::NativeFrame>& out) {
    Walk walk{.stack = stack,
              .registers = RegisterState(arch::dwarf_registers(registers)),
              .pc = registers.pc(),
              .sp = registers.sp()};
    for (std::size_t count = 0; count < limits.max_frames; ++count) {
        modules::NativeFrame frame{.pc = walk.pc,
                                   .sp = walk.sp,
                                   .is_activation = walk.is_activation,
                                   .origin = walk.origin};
        const CachedRule rule = rule_for(frame.lookup_address());
        frame.module = rule.module;
        frame.is_perf_trampoline = rule.is_perf_trampoline;
        out.push_back(frame);

        if (const auto end = advance(walk, rule)) return *end;
        // A handler returns to code that called nobody: that has no instruction before.
        if (walk.is_activation) {
            out.back().is_activation = true;
            note_signal(walk, out.back());
        }
        walk.pc = RemoteAddr{walk.value_of(arch::kReturnAddressRegister)};
        walk.sp = RemoteAddr{walk.value_of(arch::kStackPointerRegister)};
        if (!walk.pc && !walk.is_activation) return {modules::UnwindEnd::kComplete, frame.pc};
        if (walk.sp <= frame.sp &&
            (!walk.is_activation || ++walk.stack_changes > kMaxStackChanges)) {
            return {modules::UnwindEnd::kLoop, walk.pc};
        }
    }
    return {modules::UnwindEnd::kDepthLimit, walk.pc};
}

/// What the kernel has put on the stack for the handler begins with a ucontext, once the handler
/// has returned. Which signal it was is there only for handlers that ask for it (SA_SIGINFO).
void NativeUnwinder::note_signal(const Walk& walk, modules::NativeFrame& frame) {
    // Of struct sigcontext_64 in it, which begins at byte 40 [asm/sigcontext.h, asm/ucontext.h].
    constexpr std::uint64_t kTrapNumber = 200;
    constexpr std::uint64_t kPageFault = 14;
    struct Trap {
        std::uint64_t number = 0;
        std::uint64_t old_mask = 0;
        std::uint64_t address = 0;
    } trap;
    frame.returns_from_signal = true;
    const auto bytes = std::as_writable_bytes(std::span(&trap, 1));
    if (walk.stack.read_up_to(frame.sp + kTrapNumber, bytes) != bytes.size()) return;
    if (trap.number == kPageFault) frame.fault_address = RemoteAddr{trap.address};
}

/// Makes the registers those of the caller, and says whether that was interrupted; or why there is
/// none.
std::optional<modules::UnwindResult> NativeUnwinder::advance(Walk& walk, const CachedRule& rule) {
    if (rule.is_guess && advance_by_guessed_rule(walk, rule)) return std::nullopt;
    if (rule.is_guess || rule.rule.kind == UnwindRule::Kind::kNone)
        return advance_by_guess(walk, rule);
    const StepResult result = step(rule.rule, rule.bias, walk.stack, walk.registers);
    switch (result.outcome) {
        case StepOutcome::kStepped:
            break;
        case StepOutcome::kOutermost:
            return modules::UnwindResult{modules::UnwindEnd::kComplete, walk.pc};
        case StepOutcome::kUnreadable:
            return modules::UnwindResult{modules::UnwindEnd::kCutStack, result.fault};
        case StepOutcome::kFailed:
            return modules::UnwindResult{modules::UnwindEnd::kNoUnwindInfo, walk.pc};
    }
    walk.is_activation = rule.rule.is_signal_frame;
    walk.origin = modules::FrameOrigin::kCallFrameInfo;
    return std::nullopt;
}

bool NativeUnwinder::advance_by_guessed_rule(Walk& walk, const CachedRule& rule) {
    RegisterState caller = walk.registers;
    if (step(rule.rule, rule.bias, walk.stack, caller).outcome != StepOutcome::kStepped)
        return false;
    std::optional<RemoteAddr> ignored;
    const auto pc = caller.get(arch::kReturnAddressRegister, walk.stack, ignored);
    if (!pc || !guesser_.is_return_address({*pc})) return false;
    walk.registers = caller;
    walk.is_activation = false;
    walk.origin = modules::FrameOrigin::kPrologue;
    return true;
}

std::optional<modules::UnwindResult> NativeUnwinder::advance_by_guess(Walk& walk,
                                                                      const CachedRule& rule) {
    if (rule.is_code && !walk.is_activation && guesser_.is_outermost(walk.pc))
        return modules::UnwindResult{modules::UnwindEnd::kComplete, walk.pc};
    std::optional<RemoteAddr> fault;
    const FrameGuesser::Frame frame{.stack = walk.stack,
                                    .registers = walk.registers,
                                    .pc = walk.pc,
                                    .sp = walk.sp,
                                    .is_activation = walk.is_activation};
    if (auto guess = guesser_.caller(frame, rule.is_code, fault)) {
        walk.registers = guess->registers;
        walk.is_activation = guess->caller_is_interrupted;
        walk.origin = guess->origin;
        return std::nullopt;
    }
    if (fault) return modules::UnwindResult{modules::UnwindEnd::kCutStack, *fault};
    // The psABI's sign of the outermost frame, for start code without tables.
    if (rule.is_code && !walk.is_activation &&
        walk.registers.get(arch::kFramePointerRegister, walk.stack, fault) == 0U) {
        return modules::UnwindResult{modules::UnwindEnd::kComplete, walk.pc};
    }
    return modules::UnwindResult{modules::UnwindEnd::kNoUnwindInfo, walk.pc};
}

CachedRule NativeUnwinder::rule_for(RemoteAddr lookup_address) {
    if (const CachedRule* known = rules_.find(lookup_address)) return *known;
    if (!lookup_address) return {};
    if (code_map_.update_for(lookup_address)) rules_.clear();
    const CachedRule found = find_rule(lookup_address);
    // What is not in a file may be other code, or none, the next time.
    return found.module == modules::kNoModule ? found : rules_.insert(lookup_address, found);
}

CachedRule NativeUnwinder::find_rule(RemoteAddr lookup_address) {
    CachedRule found;
    const modules::CodeMap::Area* area = code_map_.find(lookup_address);
    if (area == nullptr) return found;
    found.is_code = true;
    found.module = area->module;
    if (area->module == modules::kNoModule) {
        if (const auto rule = perf_trampoline_rule(code_memory_, lookup_address)) {
            found.rule = *rule;
            found.is_perf_trampoline = true;
        }
        return found;
    }
    CfiTable* const cfi = table(area->module);
    if (cfi == nullptr) return found;
    const auto& module = code_map_.module(area->module);
    found.bias = module->bias();
    found.rule = cfi->rule(module->file_address(lookup_address));
    if (found.rule.kind == UnwindRule::Kind::kNone) {
        if (const auto guess = guesser_.rule_in_module(area->module, lookup_address)) {
            found.rule = *guess;
            found.is_guess = true;
        }
    }
    return found;
}

CfiTable* NativeUnwinder::table(std::uint32_t module) {
    if (module == modules::kNoModule) return nullptr;
    if (module >= tables_.size()) tables_.resize(code_map_.module_count());
    if (!tables_[module]) {
        const auto& code = code_map_.module(module);
        if (!code) return nullptr;
        tables_[module] = std::make_unique<CfiTable>(code, debug_files_);
    }
    return tables_[module].get();
}

}  // namespace pystack::unwind
