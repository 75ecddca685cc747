#include "symbols/tail_calls.h"

#include <algorithm>

#include "arch/x86_64/instruction.h"

namespace pystack::symbols {

namespace {

/// Functions that do nothing but pass on a call are short.
constexpr std::uint64_t kMaxFunction = 1 << 14;

}  // namespace

std::vector<std::uint64_t> tail_calls(const modules::CodeModule& module,
                                      const modules::FdeIndex& functions,
                                      const modules::FdeIndex::Range& function) {
    std::vector<std::uint64_t> found;
    const std::uint64_t size = function.end - function.begin;
    auto code = module.bytes_at(function.begin);
    if (size > kMaxFunction || size > code.size()) return found;
    code = code.first(size);
    std::uint64_t address = function.begin;
    while (!code.empty()) {
        const auto instruction = arch::decode_instruction(code);
        if (!instruction) break;
        code = code.subspan(instruction->size);
        address += instruction->size;
        if (instruction->kind != arch::Instruction::Kind::kJump || !instruction->has_target)
            continue;
        const std::uint64_t target = address + static_cast<std::uint64_t>(instruction->value);
        if (function.contains(target) ||
            std::find(found.begin(), found.end(), target) != found.end()) {
            continue;
        }
        const auto called = functions.find(target);
        if (called && called->begin == target) found.push_back(target);
    }
    return found;
}

}  // namespace pystack::symbols
