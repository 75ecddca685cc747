#include "modules/function_extent.h"

#include <algorithm>
#include <optional>

#include "arch/x86_64/instruction.h"

namespace pystack::modules {

namespace {

/// The longest functions of real assembler (multiplication of matrices) have some 30 KiB.
constexpr std::uint64_t kMaxFunction = 1 << 16;

}  // namespace

bool reaches(std::span<const std::byte> code, std::uint64_t distance) {
    using Kind = arch::Instruction::Kind;
    if (distance > kMaxFunction) return false;
    std::uint64_t place = 0;
    std::uint64_t furthest = 0;  // Where branches before `place` lead to.
    while (place <= distance) {
        const auto instruction =
            arch::decode_instruction(code.subspan(std::min<std::size_t>(place, code.size())));
        // Vector instructions that are not known are no ends, but nobody knows where they end.
        if (!instruction) return false;
        place += instruction->size;
        // Jumps without a condition may lead to other functions.
        if (instruction->kind == Kind::kBranch && instruction->has_target && instruction->value > 0)
            furthest = std::max(furthest, place + static_cast<std::uint64_t>(instruction->value));
        const bool ends = instruction->kind == Kind::kReturn || instruction->kind == Kind::kJump;
        if (ends && furthest < place) return distance < place;
    }
    return true;
}

const FunctionSymbol* find_function(const SymbolTable& symbols, const CodeModule& module,
                                    const FdeIndex& functions, std::uint64_t file_address) {
    const FunctionSymbol* const found = symbols.find(file_address);
    if (found == nullptr || found->has_size) return found;
    if (const auto entry = functions.find(file_address))
        return entry->begin <= found->begin ? found : nullptr;
    return reaches(module.bytes_at(found->begin), file_address - found->begin) ? found : nullptr;
}

}  // namespace pystack::modules
