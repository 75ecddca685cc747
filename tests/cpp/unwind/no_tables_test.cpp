#include <elf.h>
#include <unistd.h>

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "modules/elf_sections.h"
#include "modules/function_extent.h"
#include "modules/symbol_table.h"
#include "process/proc_files.h"
#include "support/eventually.h"
#include "support/stopped_child.h"
#include "unwind/epilogue_x86_64.h"
#include "unwind/stack_bytes.h"

using pystack::testing::StoppedChild;
using pystack::testing::wait_forever;

// Assembler that says neither where functions end nor how to unwind them. `hidden_code` is behind
// the function in front of it and has no symbol; its stack frame is another.
asm(R"(
    .text
    .balign 16
    .globl assembler_function
    .type assembler_function, @function
assembler_function:
    testq %rdi, %rdi
    je 1f
    pushq %rbx
    call *%rdi
    popq %rbx
1:  ret
.Lhidden_code:
    pushq %r15
    subq $40, %rsp
    call *%rdi
    testq %rax, %rax
    addq $40, %rsp
    popq %r15
    ret
    .data
    .balign 8
hidden_code:
    .quad .Lhidden_code
    .text
)");
extern "C" {
extern void (*const hidden_code)(void (*)());
extern void assembler_function(void (*)());
__attribute__((noinline)) void calls_code_without_tables(void (*code)(void (*)())) {
    code(wait_forever);
    AFTER_CALL;
}
}

namespace pystack::unwind {
namespace {

std::string name_of(NativeUnwinder& unwinder, const modules::NativeFrame& frame) {
    const auto& module = unwinder.code_map().module(frame.module);
    if (module == nullptr) return "(no module)";
    const modules::ElfSections sections(module->bytes());
    modules::SymbolTable table(sections, SHT_SYMTAB);
    if (table.empty()) table = modules::SymbolTable(sections, SHT_DYNSYM);
    const auto* symbol = modules::find_function(table, *module, modules::FdeIndex(module),
                                                module->file_address(frame.lookup_address()));
    return symbol != nullptr ? std::string(symbol->name) : "";
}

std::vector<std::string> names_of(NativeUnwinder& unwinder,
                                  const std::vector<modules::NativeFrame>& frames) {
    std::vector<std::string> names;
    for (const modules::NativeFrame& frame : frames) names.push_back(name_of(unwinder, frame));
    return names;
}

using Names = std::vector<std::string>;

TEST_CASE("code behind a function without a size is not that function") {
    for (const bool is_hidden : {false, true}) {
        CAPTURE(is_hidden);
        const StoppedChild child(
            [&] { calls_code_without_tables(is_hidden ? hidden_code : assembler_function); });
        const auto unwinder = NativeUnwinder::create(*child.target);
        REQUIRE(unwinder);
        std::vector<modules::NativeFrame> frames;
        const auto end =
            (*unwinder)->unwind(child.registers, StackBytes(child.begin, child.bytes), {}, frames);
        CHECK(end.end == modules::UnwindEnd::kComplete);
        const Names names = names_of(**unwinder, frames);
        const auto caller = std::ranges::find(names, "calls_code_without_tables");
        REQUIRE(caller != names.end());
        REQUIRE(caller != names.begin());
        CHECK(*(caller - 1) == (is_hidden ? "" : "assembler_function"));
    }
}

TEST_CASE("how far a function without a size goes") {
    const auto bytes = [](std::initializer_list<int> values) {
        std::vector<std::byte> code;
        for (const int value : values) code.push_back(static_cast<std::byte>(value));
        return code;
    };
    // test %rdi,%rdi; je +1; ret; nop; ret; nop
    const auto code = bytes({0x48, 0x85, 0xff, 0x74, 0x01, 0xc3, 0x90, 0xc3, 0x90});
    CHECK(modules::reaches(code, 0));
    CHECK(modules::reaches(code, 5));
    CHECK(modules::reaches(code, 6));
    CHECK(modules::reaches(code, 7));
    CHECK_FALSE(modules::reaches(code, 8));
    // nop; jmp away; nop
    const auto jump = bytes({0x90, 0xe9, 0, 1, 0, 0, 0x90});
    CHECK(modules::reaches(jump, 1));
    CHECK_FALSE(modules::reaches(jump, 6));
    CHECK_FALSE(modules::reaches(code, code.size()));
    CHECK_FALSE(modules::reaches({}, 0));
}

TEST_CASE("callers found by what a function does until it returns") {
    const auto rule_of = [](std::initializer_list<int> values) {
        std::vector<std::byte> code;
        for (const int value : values) code.push_back(static_cast<std::byte>(value));
        const auto rules = follow_epilogue(code, 0);
        return rules.empty() ? std::nullopt : std::optional(rules.front());
    };
    // add $0x18,%rsp; pop %rbx; pop %rbp; ret
    const auto rule = rule_of({0x48, 0x83, 0xc4, 0x18, 0x5b, 0x5d, 0xc3});
    REQUIRE(rule);
    CHECK(rule->cfa_register == arch::kStackPointerRegister);
    CHECK(rule->cfa_offset == 0x18 + 16 + 8);
    CHECK(rule->saved[0] == -24);  // rbx
    CHECK(rule->saved[1] == -16);  // rbp
    CHECK(rule->saved[2] == UnwindRule::kSame);
    // push %rbx; pop %rbx; leave; ret: of the frame pointer.
    const auto framed = rule_of({0x53, 0x5b, 0xc9, 0xc3});
    REQUIRE(framed);
    CHECK(framed->cfa_register == arch::kFramePointerRegister);
    CHECK(framed->cfa_offset == 16);
    CHECK(framed->saved[1] == -16);
    // A loop that only a branch leaves: test %eax,%eax; je +2; jmp back; add $8,%rsp; ret
    const auto loop = rule_of({0x85, 0xc0, 0x74, 0x02, 0xeb, 0xfa, 0x48, 0x83, 0xc4, 0x08, 0xc3});
    REQUIRE(loop);
    CHECK(loop->cfa_offset == 16);
    // jmp to itself; jmp *%rax; nothing
    CHECK_FALSE(rule_of({0xeb, 0xfe}));
    CHECK_FALSE(rule_of({0xff, 0xe0}));
    CHECK_FALSE(rule_of({}));
}

TEST_CASE("stacks of a program for musl end where its threads begin") {
    StoppedChild child([] {
        const std::string ready = std::to_string(pystack::testing::ready_pipe[1]);
        ::execl(PYSTACK_MUSL_PROGRAM, PYSTACK_MUSL_PROGRAM, ready.c_str(), nullptr);
    });
    std::size_t complete = 0;
    for (const pid_t tid : process::list_tasks(child.target->pid())) {
        REQUIRE(testing::eventually([&] {
            const auto stat = process::read_stat(child.target->pid(), tid);
            return stat && stat->state == 'S';
        }));
        child.copy(tid);
        const auto unwinder = NativeUnwinder::create(*child.target);
        REQUIRE(unwinder);
        std::vector<modules::NativeFrame> frames;
        const auto end =
            (*unwinder)->unwind(child.registers, StackBytes(child.begin, child.bytes), {}, frames);
        const Names names = names_of(**unwinder, frames);
        std::string all;
        for (const std::string& name : names) all += (name.empty() ? "?" : name) + " ";
        CAPTURE(all);
        CHECK(end.end == modules::UnwindEnd::kComplete);
        // It waits in a function without a symbol, far behind memset.
        CHECK(std::ranges::find(names, "memset") == names.end());
        const bool is_main = tid == child.target->pid();
        const Names wanted = is_main
                                 ? Names{"read", "waits_in_read", "main"}
                                 : Names{"read", "waits_in_read", "compares", "qsort_r", "sorts"};
        auto at = names.begin();
        for (const std::string& name : wanted) {
            at = std::find(at, names.end(), name);
            REQUIRE_MESSAGE(at != names.end(), name);
        }
        ++complete;
    }
    CHECK(complete == 2);
}

}  // namespace
}  // namespace pystack::unwind
