// Decodes the input as machine code, instruction by instruction, and as a function's prologue.

#include <cstdlib>
#include <span>

#include "arch/x86_64/instruction.h"
#include "driver.h"
#include "seed_files.h"
#include "unwind/prologue_x86_64.h"

using namespace pystack;
using namespace pystack::unwind;
using namespace pystack::arch;

void fuzz::run(std::span<const std::byte> input) {
    for (std::size_t at = 0; at < input.size();) {
        const auto instruction = decode_instruction(input.subspan(at));
        if (!instruction) {
            ++at;
            continue;
        }
        if (instruction->size == 0 || instruction->size > 15 ||
            instruction->size > input.size() - at || instruction->target > 15 ||
            instruction->source > 15) {
            std::abort();
        }
        at += instruction->size;
    }
    use(follow_prologue(input));
    use(ends_with_call(input));
}

std::vector<fuzz::Bytes> fuzz::seeds() {
    // Its code, in pieces that are short enough to be changed all over.
    std::vector<Bytes> seeds;
    for (const Bytes& file : {seed_library(), vdso()}) {
        constexpr std::size_t kPiece = 64;
        for (std::size_t at = 0; at + kPiece <= file.size() && at < 0x2000; at += kPiece) {
            const auto piece = std::span(file).subspan(at, kPiece);
            seeds.emplace_back(piece.begin(), piece.end());
        }
    }
    return seeds;
}
