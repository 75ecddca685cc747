// Decodes the instructions on stdin, one per line in hexadecimal, and says of each its size, its
// kind, and what else is known of that: "5 call 1234", "4 add 4 -16" (registers by the numbers of
// the instruction set). "-" where the decoder knows none. For tests/differential.

#include <iostream>
#include <span>
#include <string>
#include <vector>

#include "arch/x86_64/instruction.h"

namespace {

using pystack::arch::Instruction;

void print(const Instruction& instruction) {
    using Kind = Instruction::Kind;
    std::cout << int{instruction.size} << ' ';
    const int target = instruction.target;
    const int source = instruction.source;
    const auto jump = [&](const char* name) {
        std::cout << name;
        if (instruction.has_target) std::cout << ' ' << instruction.value;
    };
    switch (instruction.kind) {
        case Kind::kOther:
            std::cout << "other";
            break;
        case Kind::kPush:
            std::cout << "push " << source;
            break;
        case Kind::kPop:
            std::cout << "pop " << target;
            break;
        case Kind::kMove:
            std::cout << "move " << target << ' ' << source;
            break;
        case Kind::kStore:
            std::cout << "store " << target << ' ' << source << ' ' << instruction.value;
            break;
        case Kind::kLoadAddress:
            std::cout << "lea " << target << ' ' << source << ' ' << instruction.value;
            break;
        case Kind::kAdd:
            std::cout << "add " << target << ' ' << instruction.value;
            break;
        case Kind::kAlign:
            std::cout << "align " << target << ' ' << instruction.value;
            break;
        case Kind::kLeave:
            std::cout << "leave";
            break;
        case Kind::kReturn:
            std::cout << "return";
            break;
        case Kind::kJump:
            jump("jump");
            break;
        case Kind::kBranch:
            jump("branch");
            break;
        case Kind::kCall:
            jump("call");
            break;
    }
    std::cout << '\n';
}

}  // namespace

int main() {
    for (std::string hex; std::getline(std::cin, hex);) {
        // More follows, as in a file: a size that is too large shows as such.
        constexpr std::size_t kLongest = 15;
        std::vector<std::byte> code;
        for (std::size_t i = 0; i + 1 < hex.size(); i += 2) {
            code.push_back(static_cast<std::byte>(std::stoi(hex.substr(i, 2), nullptr, 16)));
        }
        code.resize(code.size() + kLongest);
        if (const auto decoded = pystack::arch::decode_instruction(code)) {
            print(*decoded);
        } else {
            std::cout << "-\n";
        }
    }
}
