#include "symbols/split_functions.h"

#include <algorithm>
#include <utility>

#include "arch/x86_64/instruction.h"

namespace pystack::symbols {

namespace {

/// The biggest real part, that of CPython's interpreter loop, has some 100 KiB.
constexpr std::uint64_t kMaxPart = 1 << 20;

}  // namespace

SplitFunctions::SplitFunctions(std::shared_ptr<const modules::CodeModule> module,
                               const modules::FdeIndex& functions)
    : module_(std::move(module)), functions_(functions) {}
SplitFunctions::~SplitFunctions() = default;

std::optional<modules::FdeIndex::Range> SplitFunctions::main_part(
    const modules::FdeIndex::Range& part) {
    const auto [place, is_new] = known_.try_emplace(part.begin);
    if (is_new && begins_with_a_frame(part)) place->second = jumped_into(part);
    return place->second;
}

bool SplitFunctions::begins_with_a_frame(const modules::FdeIndex::Range& part) {
    if (!frames_)
        frames_ = std::make_unique<unwind::CfiTable>(
            module_, modules::DebugFileOptions{.roots = {}, .fetch = {}});
    const unwind::UnwindRule rule = frames_->rule(part.begin);
    // At the first instruction of a function only the return address has been pushed.
    constexpr std::int32_t kOnlyReturnAddress = 8;
    if (rule.kind == unwind::UnwindRule::Kind::kPlain) {
        return rule.cfa_register != arch::kStackPointerRegister ||
               rule.cfa_offset > kOnlyReturnAddress;
    }
    // The tables of linkage stubs are expressions too, but nothing jumps from there into a
    // function.
    return rule.kind == unwind::UnwindRule::Kind::kGeneral;
}

std::optional<modules::FdeIndex::Range> SplitFunctions::jumped_into(
    const modules::FdeIndex::Range& part) const {
    std::optional<modules::FdeIndex::Range> found;
    auto code = module_->bytes_at(part.begin);
    code = code.first(std::min<std::uint64_t>({code.size(), part.end - part.begin, kMaxPart}));
    std::uint64_t address = part.begin;
    while (!code.empty()) {
        const auto instruction = arch::decode_instruction(code);
        if (!instruction) break;
        code = code.subspan(instruction->size);
        address += instruction->size;
        const bool jumps = instruction->kind == arch::Instruction::Kind::kJump ||
                           instruction->kind == arch::Instruction::Kind::kBranch;
        if (!jumps || !instruction->has_target) continue;
        const std::uint64_t target = address + static_cast<std::uint64_t>(instruction->value);
        if (part.contains(target) || (found && found->contains(target))) continue;
        const auto function = functions_.find(target);
        // To the beginning of a function: a call in tail position.
        if (!function || function->begin == target) continue;
        if (found) return std::nullopt;
        found = function;
    }
    return found;
}

}  // namespace pystack::symbols
