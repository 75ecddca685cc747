#include <doctest/doctest.h>
#include <elf.h>
#include <unistd.h>

#include <array>
#include <initializer_list>
#include <random>
#include <span>
#include <vector>

#include "arch/x86_64/instruction.h"
#include "modules/dwarf_constants.h"
#include "modules/fde_index.h"
#include "modules/symbol_table.h"
#include "support/fake_memory.h"
#include "target/live_target.h"
#include "unwind/cfi_table.h"
#include "unwind/dwarf_expression.h"
#include "unwind/prologue_x86_64.h"

namespace pystack::unwind {
namespace {

TEST_CASE("DWARF expressions") {
    testing::FakeMemory memory;
    const RemoteAddr place = memory.allocate(64);
    memory.put(place + 16, std::uint64_t{0x1122334455667788});
    RegisterState registers;
    registers.set(7, place.value);
    registers.set(16, 0x401006);
    std::optional<RemoteAddr> fault;
    const auto value = [&](std::vector<DwarfOperation> operations) {
        fault.reset();
        const auto result = evaluate(operations, {registers, memory, 1000, 0}, fault);
        return result ? std::optional(result->value) : std::nullopt;
    };
    CHECK(value({{modules::dwarf::kOpBreg0 + 7, 16}, {modules::dwarf::kOpDereference}}) ==
          0x1122334455667788);
    CHECK(value({{modules::dwarf::kOpBregX, 7, 16}, {modules::dwarf::kOpDereferenceSize, 2}}) ==
          0x7788);
    CHECK(value({{modules::dwarf::kOpCallFrameCfa},
                 {modules::dwarf::kOpPlusUConst, static_cast<std::uint64_t>(-8)}}) == 992);
    // What linkers write for .plt: cfa = rsp + 8 + ((rip & 15) >= 11) * 8
    const std::vector<DwarfOperation> plt = {
        {modules::dwarf::kOpBreg0 + 7, 8}, {modules::dwarf::kOpBreg0 + 16},
        {modules::dwarf::kOpLit0 + 15},    {modules::dwarf::kOpAnd},
        {modules::dwarf::kOpLit0 + 11},    {modules::dwarf::kOpGe},
        {modules::dwarf::kOpLit0 + 3},     {modules::dwarf::kOpShl},
        {modules::dwarf::kOpPlus}};
    CHECK(value(plt) == place.value + 8);
    registers.set(16, 0x40100c);
    CHECK(value(plt) == place.value + 16);
    CHECK(value({{modules::dwarf::kOpLit0 + 7},
                 {modules::dwarf::kOpLit0 + 2},
                 {modules::dwarf::kOpMinus}}) == 5);
    CHECK(value({{modules::dwarf::kOpConst1s, static_cast<std::uint64_t>(-7)},
                 {modules::dwarf::kOpLit0 + 2},
                 {modules::dwarf::kOpDiv}}) == static_cast<std::uint64_t>(-3));
    // Failures: unknown register, division by zero, nothing on the stack, unreadable memory, no
    // end.
    CHECK_FALSE(value({{modules::dwarf::kOpBreg0 + 3}}));
    CHECK_FALSE(value(
        {{modules::dwarf::kOpLit0 + 7}, {modules::dwarf::kOpLit0}, {modules::dwarf::kOpDiv}}));
    CHECK_FALSE(value({{modules::dwarf::kOpPlus}}));
    CHECK_FALSE(value({{modules::dwarf::kOpLit0 + 8}, {modules::dwarf::kOpDereference}}));
    CHECK(fault == RemoteAddr{8});
    CHECK_FALSE(value({{modules::dwarf::kOpSkip, static_cast<std::uint64_t>(-3), 0, 0}}));
    CHECK_FALSE(value({{0x9b}}));
}

TEST_CASE("a plain rule reads the return address and remembers where the rest is") {
    testing::FakeMemory memory;
    const RemoteAddr stack = memory.allocate(64);
    memory.put(stack + 16, std::uint64_t{111});       // rbx
    memory.put(stack + 24, std::uint64_t{0x401000});  // return address
    RegisterState registers;
    registers.set(arch::kStackPointerRegister, stack.value);
    registers.set(0, 5);
    UnwindRule rule;
    rule.kind = UnwindRule::Kind::kPlain;
    rule.cfa_register = arch::kStackPointerRegister;
    rule.cfa_offset = 32;
    rule.saved = {-16,
                  UnwindRule::kSame,
                  UnwindRule::kSame,
                  UnwindRule::kSame,
                  UnwindRule::kSame,
                  UnwindRule::kLost};
    REQUIRE(step(rule, 0, memory, registers).outcome == StepOutcome::kStepped);
    std::optional<RemoteAddr> fault;
    CHECK(registers.get(arch::kReturnAddressRegister, memory, fault) == 0x401000);
    CHECK(registers.get(arch::kStackPointerRegister, memory, fault) == stack.value + 32);
    CHECK(registers.get(3, memory, fault) == 111);
    CHECK_FALSE(registers.get(0, memory, fault));  // Not preserved by calls.
    rule.cfa_offset = 4096;
    const StepResult cut = step(rule, 0, memory, registers);
    CHECK(cut.outcome == StepOutcome::kUnreadable);
    CHECK(cut.fault == stack + 32 + 4096 - 8);
}

std::vector<std::byte> code(std::initializer_list<unsigned> values) {
    std::vector<std::byte> bytes;
    for (const unsigned value : values) bytes.push_back(static_cast<std::byte>(value));
    return bytes;
}

TEST_CASE("sizes of instructions") {
    const auto size = [](std::initializer_list<unsigned> values) {
        auto bytes = code(values);
        const std::size_t expected = bytes.size();
        bytes.resize(16);  // What follows must not matter.
        const auto instruction = arch::decode_instruction(bytes);
        return instruction && instruction->size == expected;
    };
    CHECK(size({0x55}));                                            // push %rbp
    CHECK(size({0x41, 0x57}));                                      // push %r15
    CHECK(size({0x48, 0x89, 0xe5}));                                // mov %rsp,%rbp
    CHECK(size({0x48, 0x81, 0xec, 0x80, 0x70, 0, 0}));              // sub $0x7080,%rsp
    CHECK(size({0x48, 0x83, 0xe4, 0xf0}));                          // and $-16,%rsp
    CHECK(size({0x4c, 0x8b, 0x54, 0x24, 0x68}));                    // mov 0x68(%rsp),%r10
    CHECK(size({0x4c, 0x8d, 0x14, 0xd5, 0, 0, 0, 0}));              // lea 0x0(,%r10,8),%r10
    CHECK(size({0x48, 0xb8, 1, 2, 3, 4, 5, 6, 7, 8}));              // movabs
    CHECK(size({0xb8, 1, 0, 0, 0}));                                // mov $1,%eax
    CHECK(size({0x66, 0xb8, 1, 0}));                                // mov $1,%ax
    CHECK(size({0xf6, 0xc1, 0x01}));                                // test $1,%cl
    CHECK(size({0xf7, 0xd8}));                                      // neg %eax
    CHECK(size({0x0f, 0x84, 1, 0, 0, 0}));                          // je
    CHECK(size({0xc5, 0xf8, 0x77}));                                // vzeroupper
    CHECK(size({0xc5, 0xfb, 0x11, 0x44, 0x24, 0x30}));              // vmovsd %xmm0,0x30(%rsp)
    CHECK(size({0xc4, 0xe3, 0x7d, 0x19, 0xc1, 0x01}));              // vextractf128 $1
    CHECK(size({0x62, 0xf1, 0xfd, 0x48, 0x6f, 0x44, 0x24, 0x01}));  // vmovdqa64 0x40(%rsp),%zmm0
    CHECK(size({0x66, 0x0f, 0x3a, 0x0f, 0xc1, 0x08}));              // palignr $8
    CHECK(size({0xf3, 0x0f, 0x1e, 0xfa}));                          // endbr64
    CHECK(size({0x66, 0x2e, 0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0}));     // nopw
    CHECK(size({0xff, 0x15, 1, 0, 0, 0}));                          // call *1(%rip)
    CHECK_FALSE(arch::decode_instruction(code({0x48, 0x81, 0xec, 0x80})));
    CHECK_FALSE(arch::decode_instruction(code({0x06})));
    CHECK_FALSE(arch::decode_instruction({}));
}

TEST_CASE("what only looks like a change of the stack is none, and what is one is seen") {
    using Kind = arch::Instruction::Kind;
    const auto decoded = [](std::initializer_list<unsigned> values) {
        const auto instruction = arch::decode_instruction(code(values));
        REQUIRE(instruction);
        CHECK(instruction->size == values.size());
        return *instruction;
    };
    // Thread-local variables: relative to a segment, whatever the register.
    CHECK(decoded({0x64, 0x48, 0x89, 0x39}).kind == Kind::kOther);        // mov %rdi,%fs:(%rcx)
    CHECK(decoded({0x67, 0x48, 0x8d, 0x41, 0x08}).kind == Kind::kOther);  // lea 0x8(%ecx),%rax
    CHECK(decoded({0x66, 0x55}).kind == Kind::kOther);                    // push %bp: 16 bits
    // The short forms of rax.
    const arch::Instruction add = decoded({0x48, 0x05, 0, 2, 0, 0});  // add $0x200,%rax
    CHECK(add.kind == Kind::kAdd);
    CHECK(add.target == 0);
    CHECK(add.value == 0x200);
    CHECK(decoded({0x48, 0x2d, 0, 2, 0, 0}).value == -0x200);       // sub $0x200,%rax
    CHECK(decoded({0x48, 0x25, 0, 2, 0, 0}).kind == Kind::kAlign);  // and $0x200,%rax
    CHECK(decoded({0x05, 0, 2, 0, 0}).kind == Kind::kOther);        // add $0x200,%eax
    CHECK(decoded({0xff, 0xf2}).source == 2);                       // push %rdx, the long form
    CHECK(decoded({0x8f, 0xc2}).kind == Kind::kPop);                // pop %rdx, the long form
    CHECK(decoded({0x8f, 0xe8, 0x78, 0xc2, 0xec, 0x0e}).kind == Kind::kOther);  // vprotd $14
}

TEST_CASE("calls") {
    CHECK(ends_with_call(code({0x90, 0x90, 0x90, 0xe8, 1, 2, 3, 4})));
    CHECK(ends_with_call(code({0xff, 0xd0})));                                // call *%rax
    CHECK(ends_with_call(code({0x41, 0xff, 0xd4})));                          // call *%r12
    CHECK(ends_with_call(code({0, 0, 0xff, 0x14, 0x25, 0, 0, 0})) == false);  // Cut.
    CHECK(ends_with_call(code({0, 0xff, 0x94, 0x24, 0x80, 0, 0, 0})));        // call *0x80(%rsp)
    CHECK_FALSE(ends_with_call(code({0x90, 0x90, 0x90, 0xe9, 1, 2, 3, 4})));
    CHECK_FALSE(ends_with_call(code({0x48, 0x89, 0xe5, 0xc3})));
}

TEST_CASE("prologues of assembler functions") {
    // OpenBLAS kernels for AVX2 begin so:
    //   sub $0x60,%rsp; mov %rbx,(%rsp); mov %rbp,8(%rsp); vzeroupper; mov %rsp,%rbx; sub
    //   $0x7080,%rsp; and $-4096,%rsp
    const auto kernel = code({0x48, 0x83, 0xec, 0x60, 0x48, 0x89, 0x1c, 0x24, 0x48, 0x89, 0x6c,
                              0x24, 0x08, 0xc5, 0xf8, 0x77, 0x48, 0x89, 0xe3, 0x48, 0x81, 0xec,
                              0x80, 0x70, 0,    0,    0x48, 0x81, 0xe4, 0,    0xf0, 0xff, 0xff});
    const auto whole = follow_prologue(kernel);
    REQUIRE(whole);
    CHECK(whole->cfa_register == 3);  // rbx
    CHECK(whole->cfa_offset == 0x68);
    CHECK(whole->saved[0] == -0x68);
    CHECK(whole->saved[1] == -0x60);
    CHECK(whole->saved[2] == UnwindRule::kSame);
    const auto early = follow_prologue(std::span(kernel).first(8));
    REQUIRE(early);
    CHECK(early->cfa_register == arch::kStackPointerRegister);
    CHECK(early->cfa_offset == 0x68);
    CHECK(early->saved[1] == UnwindRule::kSame);
    const auto leaf = follow_prologue({});
    REQUIRE(leaf);
    CHECK(leaf->cfa_offset == 8);
    // push %rbp; mov %rsp,%rbp; push %rbx; sub $24,%rsp
    const auto usual =
        follow_prologue(code({0x55, 0x48, 0x89, 0xe5, 0x53, 0x48, 0x83, 0xec, 0x18}));
    REQUIRE(usual);
    CHECK(usual->cfa_offset == 8 + 8 + 8 + 24);
    CHECK(usual->saved[0] == -24);
    CHECK(usual->saved[1] == -16);
}

std::vector<std::byte> bytes_of_vdso() {
    const auto self = target::LiveTarget::open(::getpid());
    REQUIRE(self);
    const auto mappings = (*self)->mappings();
    REQUIRE(mappings);
    for (const elf::Mapping& mapping : *mappings) {
        if (mapping.path != "[vdso]") continue;
        return *(*self)->memory().read_bytes(mapping.range.begin, mapping.range.size());
    }
    return {};
}

TEST_CASE("damaged files are read without harm") {
    const std::vector<std::byte> good = bytes_of_vdso();
    if (good.empty()) return;
    constexpr RemoteAddr kBegin{0x7000'0000'0000};
    std::mt19937 random(2);
    int usable = 0;
    for (int round = 0; round < 3000; ++round) {
        std::vector<std::byte> bytes = good;
        for (unsigned i = 0; i < random() % 8; ++i)
            bytes[random() % bytes.size()] = static_cast<std::byte>(random());
        if (round % 7 == 0) bytes.resize(random() % bytes.size());
        testing::FakeMemory memory;
        const RemoteRange range{kBegin, kBegin + bytes.size()};
        memory.add(kBegin, std::move(bytes));
        const auto module = modules::CodeModule::from_memory(memory, range, "[vdso]");
        if (!module) continue;
        ++usable;
        CfiTable table(module, {.roots = {}, .fetch = {}});
        const modules::FdeIndex functions(module);
        const modules::ElfSections sections(module->bytes());
        const modules::SymbolTable symbols(sections, SHT_DYNSYM);
        for (int i = 0; i < 32; ++i) {
            const std::uint64_t address = random() % (good.size() + 64);
            static_cast<void>(table.rule(address));
            static_cast<void>(functions.find(address));
            static_cast<void>(symbols.find(address));
        }
    }
    CHECK(usable > 100);
}

}  // namespace
}  // namespace pystack::unwind
