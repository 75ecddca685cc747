#include <elf.h>
#include <signal.h>
#include <sys/mman.h>

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "modules/elf_sections.h"
#include "modules/fde_index.h"
#include "modules/symbol_table.h"
#include "support/stopped_child.h"
#include "unwind/cfi_table.h"
#include "unwind/stack_bytes.h"

using pystack::testing::StoppedChild;
using pystack::testing::wait_forever;

#define DEFINE_CHAIN(name, ...)                                                                  \
    extern "C" __attribute__((noinline, __VA_ARGS__)) void chain_##name##_inner(void (*end)()) { \
        end();                                                                                   \
        AFTER_CALL;                                                                              \
    }                                                                                            \
    extern "C" __attribute__((noinline, __VA_ARGS__)) int chain_##name##_middle(void (*end)(),   \
                                                                                int count) {     \
        volatile char room[100];                                                                 \
        room[0] = static_cast<char>(count);                                                      \
        chain_##name##_inner(end);                                                               \
        AFTER_CALL;                                                                              \
        return room[0] + count;                                                                  \
    }                                                                                            \
    extern "C" __attribute__((noinline, __VA_ARGS__)) void chain_##name##_outer(void (*end)()) { \
        volatile int result = chain_##name##_middle(end, 3);                                     \
        static_cast<void>(result);                                                               \
    }

DEFINE_CHAIN(o0, optimize("O0"))
DEFINE_CHAIN(o1, optimize("O1", "omit-frame-pointer"))
DEFINE_CHAIN(o2, optimize("O2", "omit-frame-pointer"))
DEFINE_CHAIN(os, optimize("Os"))
DEFINE_CHAIN(fp, optimize("O3", "no-omit-frame-pointer"))

/// A stack that is aligned to 64 bytes: its CFA is found by an expression.
extern "C" __attribute__((noinline)) void chain_aligned(void (*end)()) {
    alignas(64) volatile char room[256];
    room[0] = 1;
    end();
    room[1] = room[0];
    AFTER_CALL;
}

extern "C" __attribute__((noinline)) int recurse(int depth) {
    if (depth == 0) {
        wait_forever();
        return 0;
    }
    const int result = recurse(depth - 1) + 1;
    AFTER_CALL;
    return result;
}

extern "C" __attribute__((noinline)) void on_signal(int) {
    wait_forever();
    AFTER_CALL;
}

extern "C" __attribute__((noinline)) void raise_signal() {
    ::raise(SIGUSR1);
    AFTER_CALL;
}

namespace pystack::unwind {
namespace {

/// By the symbol tables alone: the functions of these tests have C names and are not inlined.
std::vector<std::string> names_of(NativeUnwinder& unwinder,
                                  const std::vector<modules::NativeFrame>& frames) {
    std::map<std::uint32_t, modules::SymbolTable> tables;
    std::vector<std::string> names;
    for (const modules::NativeFrame& frame : frames) {
        if (frame.module == modules::kNoModule) continue;
        const auto& module = unwinder.code_map().module(frame.module);
        if (module == nullptr) continue;
        const auto [table, is_new] = tables.try_emplace(frame.module);
        if (is_new) {
            const modules::ElfSections sections(module->bytes());
            table->second = modules::SymbolTable(sections, SHT_SYMTAB);
            if (table->second.empty()) table->second = modules::SymbolTable(sections, SHT_DYNSYM);
        }
        const auto* symbol = table->second.find(module->file_address(frame.lookup_address()));
        if (symbol != nullptr) names.emplace_back(symbol->name);
    }
    return names;
}

/// Whether `wanted` are among the names, in this order.
bool has_in_order(const std::vector<std::string>& names, const std::vector<std::string>& wanted) {
    auto at = names.begin();
    for (const std::string& name : wanted) {
        at = std::find(at, names.end(), name);
        if (at == names.end()) {
            std::string all;
            for (const std::string& one : names) all += one + " ";
            MESSAGE("no " << name << " at its place in: " << all);
            return false;
        }
        ++at;
    }
    return true;
}

void check_frames(const StoppedChild& child, const std::vector<modules::NativeFrame>& frames) {
    REQUIRE(!frames.empty());
    CHECK(frames.front().pc == child.registers.pc());
    CHECK(frames.front().sp == child.registers.sp());
    CHECK(frames.front().is_activation);
    for (std::size_t i = 1; i < frames.size(); ++i) CHECK(frames[i - 1].sp < frames[i].sp);
}

TEST_CASE("a known chain of calls, at several optimisation levels") {
    struct Chain {
        const char* name;
        void (*outer)(void (*)());
    };
    for (const Chain& chain :
         {Chain{"o0", chain_o0_outer}, Chain{"o1", chain_o1_outer}, Chain{"o2", chain_o2_outer},
          Chain{"os", chain_os_outer}, Chain{"fp", chain_fp_outer}}) {
        CAPTURE(chain.name);
        StoppedChild child([&] { chain.outer(wait_forever); });
        const auto unwinder = NativeUnwinder::create(*child.target);
        REQUIRE(unwinder);
        std::vector<modules::NativeFrame> frames;
        CHECK(child.unwind(**unwinder, frames).end == modules::UnwindEnd::kComplete);
        check_frames(child, frames);
        const std::string prefix = std::string("chain_") + chain.name;
        CHECK(has_in_order(names_of(**unwinder, frames),
                           {prefix + "_inner", prefix + "_middle", prefix + "_outer", "main"}));

        // From the cache it is the same.
        std::vector<modules::NativeFrame> again;
        child.unwind(**unwinder, again);
        REQUIRE(again.size() == frames.size());
        for (std::size_t i = 0; i < frames.size(); ++i) {
            CHECK(again[i].pc == frames[i].pc);
            CHECK(again[i].sp == frames[i].sp);
        }
    }
}

TEST_CASE("a frame whose CFA is an expression") {
    StoppedChild child([] { chain_aligned([] { chain_o2_outer(wait_forever); }); });
    const auto unwinder = NativeUnwinder::create(*child.target);
    REQUIRE(unwinder);
    std::vector<modules::NativeFrame> frames;
    CHECK(child.unwind(**unwinder, frames).end == modules::UnwindEnd::kComplete);
    CHECK(has_in_order(names_of(**unwinder, frames),
                       {"chain_o2_inner", "chain_o2_outer", "chain_aligned", "main"}));
}

void install_handler(bool own_stack) {
    static std::array<char, 1 << 16> stack;
    if (own_stack) {
        stack_t alternate{};
        alternate.ss_sp = stack.data();
        alternate.ss_size = stack.size();
        ::sigaltstack(&alternate, nullptr);
    }
    struct sigaction action{};
    action.sa_handler = on_signal;
    action.sa_flags = own_stack ? SA_ONSTACK : 0;
    ::sigaction(SIGUSR1, &action, nullptr);
}

TEST_CASE("through a signal handler") {
    StoppedChild child([] {
        install_handler(false);
        chain_o2_outer(raise_signal);
    });
    const auto unwinder = NativeUnwinder::create(*child.target);
    REQUIRE(unwinder);
    std::vector<modules::NativeFrame> frames;
    CHECK(child.unwind(**unwinder, frames).end == modules::UnwindEnd::kComplete);
    check_frames(child, frames);
    CHECK(has_in_order(names_of(**unwinder, frames),
                       {"on_signal", "raise_signal", "chain_o2_inner", "chain_o2_outer", "main"}));
    const auto returns = std::ranges::find_if(frames, &modules::NativeFrame::returns_from_signal);
    REQUIRE(returns != frames.end());
    CHECK_FALSE(returns->fault_address);
    // The innermost, the one that returns from the handler, and the one that was interrupted.
    CHECK(std::count_if(frames.begin(), frames.end(),
                        [](const auto& frame) { return frame.is_activation; }) == 3);
}

TEST_CASE("the address whose use made a signal") {
    StoppedChild child([] {
        struct sigaction action{};
        action.sa_handler = on_signal;
        ::sigaction(SIGSEGV, &action, nullptr);
        // Not by the compiler, which could leave it out.
        asm volatile("movq 0x10, %%rax" ::: "rax");
    });
    const auto unwinder = NativeUnwinder::create(*child.target);
    REQUIRE(unwinder);
    std::vector<modules::NativeFrame> frames;
    CHECK(child.unwind(**unwinder, frames).end == modules::UnwindEnd::kComplete);
    const auto returns = std::ranges::find_if(frames, &modules::NativeFrame::returns_from_signal);
    REQUIRE(returns != frames.end());
    CHECK(returns->fault_address == RemoteAddr{0x10});
}

TEST_CASE("a signal handler on a stack of its own") {
    StoppedChild child([] {
        install_handler(true);
        chain_o2_outer(raise_signal);
    });
    const auto unwinder = NativeUnwinder::create(*child.target);
    REQUIRE(unwinder);
    std::vector<modules::NativeFrame> frames;
    // Only the handler's stack was copied.
    const modules::UnwindResult cut = child.unwind(**unwinder, frames);
    CHECK(cut.end == modules::UnwindEnd::kCutStack);
    frames.clear();
    const modules::UnwindResult all =
        (*unwinder)->unwind(child.registers, child.target->memory(), {}, frames);
    CHECK(all.end == modules::UnwindEnd::kComplete);
    CHECK(has_in_order(names_of(**unwinder, frames),
                       {"on_signal", "raise_signal", "chain_o2_inner", "main"}));
}

TEST_CASE("deep stacks and limits") {
    constexpr int kDepth = 20'000;
    StoppedChild child([] { recurse(kDepth); });
    const auto unwinder = NativeUnwinder::create(*child.target);
    REQUIRE(unwinder);
    std::vector<modules::NativeFrame> frames;
    CHECK(child.unwind(**unwinder, frames, {.max_frames = 100}).end ==
          modules::UnwindEnd::kDepthLimit);
    CHECK(frames.size() == 100);
    frames.clear();
    CHECK(child.unwind(**unwinder, frames, {.max_frames = 100'000}).end ==
          modules::UnwindEnd::kComplete);
    CHECK(frames.size() > kDepth);

    SUBCASE("a cut stack keeps its frames and says where it was cut") {
        child.bytes.resize(4096);
        frames.clear();
        const modules::UnwindResult result = child.unwind(**unwinder, frames);
        CHECK(result.end == modules::UnwindEnd::kCutStack);
        CHECK(frames.size() > 5);
        const RemoteAddr end = child.begin + child.bytes.size();
        CHECK(result.address + 8 > end);
        CHECK(result.address < end + 4096);
        for (const modules::NativeFrame& frame : frames) CHECK(frame.sp <= end + 4096);
    }
}

void* executable_page() {
    return ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS,
                  -1, 0);
}

/// Calls known chains through the code at the beginning of a page.
void run_through(void* page) {
    static void (*jit)(void (*)()) = nullptr;
    jit = reinterpret_cast<void (*)(void (*)())>(page);
    chain_o2_outer([] {
        jit([] { chain_fp_outer(wait_forever); });
        AFTER_CALL;
    });
}

TEST_CASE("code of a JIT that keeps frame pointers") {
    StoppedChild child([] {
        // push %rbp; mov %rsp,%rbp; call *%rdi; pop %rbp; ret
        constexpr std::array<std::uint8_t, 8> kCode = {0x55, 0x48, 0x89, 0xe5,
                                                       0xff, 0xd7, 0x5d, 0xc3};
        void* page = executable_page();
        std::memcpy(page, kCode.data(), kCode.size());
        run_through(page);
    });
    const auto unwinder = NativeUnwinder::create(*child.target);
    REQUIRE(unwinder);
    std::vector<modules::NativeFrame> frames;
    CHECK(child.unwind(**unwinder, frames).end == modules::UnwindEnd::kComplete);
    CHECK(has_in_order(names_of(**unwinder, frames), {"chain_fp_inner", "chain_fp_outer",
                                                      "chain_o2_inner", "chain_o2_outer", "main"}));
    CHECK(std::count_if(frames.begin(), frames.end(),
                        [](const auto& frame) { return frame.module == modules::kNoModule; }) == 1);
}

TEST_CASE("each instruction of the stub by which a JIT's code is entered") {
    // push %rbp, %r15, %r14, %r13, %r12, %rbx, %rax; call; pop them; ret
    static constexpr std::array<std::uint8_t, 28> kStub = {
        0x55, 0x41, 0x57, 0x41, 0x56, 0x41, 0x55, 0x41, 0x54, 0x53, 0x50, 0xe8, 0x30, 0x00,
        0x00, 0x00, 0x58, 0x5b, 0x41, 0x5c, 0x41, 0x5d, 0x41, 0x5e, 0x41, 0x5f, 0x5d, 0xc3};
    static constexpr std::array<std::uint64_t, 8> kPushes = {0, 1, 3, 5, 7, 9, 10, 11};
    static constexpr std::array<std::uint64_t, 8> kPops = {16, 17, 18, 20, 22, 24, 26, 27};
    StoppedChild child([] {
        // sub $8,%rsp; call *%rdi; add $8,%rsp; ret
        constexpr std::array<std::uint8_t, 11> kCode = {0x48, 0x83, 0xec, 0x08, 0xff, 0xd7,
                                                        0x48, 0x83, 0xc4, 0x08, 0xc3};
        void* page = executable_page();
        std::memcpy(page, kStub.data(), kStub.size());
        std::memcpy(static_cast<std::byte*>(page) + 64, kCode.data(), kCode.size());
        run_through(page);
    });
    const auto unwinder = NativeUnwinder::create(*child.target);
    REQUIRE(unwinder);
    std::vector<modules::NativeFrame> frames;
    CHECK(child.unwind(**unwinder, frames).end == modules::UnwindEnd::kComplete);
    CHECK(has_in_order(names_of(**unwinder, frames),
                       {"chain_fp_outer", "chain_o2_inner", "chain_o2_outer", "main"}));
    const auto stub =
        std::find_if(frames.begin(), frames.end(), [](const modules::NativeFrame& frame) {
            return frame.module == modules::kNoModule && frame.pc.value % 4096 == kPops.front();
        });
    REQUIRE(stub != frames.end());
    const modules::NativeFrame caller = *(stub + 1);
    const auto check = [&](std::uint64_t pc, std::uint64_t sp) {
        arch::Registers registers = child.registers;
        registers.raw.rip = pc;
        registers.raw.rsp = sp;
        registers.raw.rbp = 0;
        std::vector<modules::NativeFrame> found;
        (*unwinder)->unwind(registers, StackBytes(child.begin, child.bytes), {}, found);
        REQUIRE(found.size() > 1);
        CHECK(found[1].pc == caller.pc);
        CHECK(found[1].sp == caller.sp);
    };
    const std::uint64_t page = stub->pc.value - kPops.front();
    for (std::size_t i = 0; i < kPops.size(); ++i) {
        check(page + kPops[i], stub->sp.value + 8 * i);
        check(page + kPushes[i], caller.sp.value - 8 * (i + 1));
    }
}

TEST_CASE("a call through a null pointer") {
    StoppedChild child([] { chain_o2_outer(wait_forever); });
    const auto unwinder = NativeUnwinder::create(*child.target);
    REQUIRE(unwinder);
    std::vector<modules::NativeFrame> frames;
    child.unwind(**unwinder, frames);
    const auto inner =
        std::find_if(frames.begin(), frames.end(), [&](const modules::NativeFrame& frame) {
            return names_of(**unwinder, {frame}).back() == "chain_o2_inner";
        });
    REQUIRE(inner != frames.end());
    // As if chain_o2_inner had called address 0.
    arch::Registers registers = child.registers;
    registers.raw.rip = 0;
    registers.raw.rsp = inner->sp.value - 8;
    std::vector<modules::NativeFrame> found;
    const modules::UnwindResult result =
        (*unwinder)->unwind(registers, StackBytes(child.begin, child.bytes), {}, found);
    CHECK(result.end == modules::UnwindEnd::kComplete);
    REQUIRE(found.size() > 2);
    CHECK(found[1].pc == inner->pc);
    CHECK(found[1].origin == modules::FrameOrigin::kReturnAddress);
}

TEST_CASE("garbage ends") {
    StoppedChild child([] { chain_o2_outer(wait_forever); });
    const auto unwinder = NativeUnwinder::create(*child.target);
    REQUIRE(unwinder);
    std::vector<modules::NativeFrame> real;
    child.unwind(**unwinder, real);
    std::mt19937_64 random(1);
    std::vector<std::byte> bytes(4096);
    for (int round = 0; round < 20'000; ++round) {
        arch::Registers registers = child.registers;
        auto* words = reinterpret_cast<std::uint64_t*>(bytes.data());
        for (std::size_t i = 0; i < bytes.size() / 8; ++i) {
            switch (random() % 4) {
                case 0:
                    words[i] = random();
                    break;
                case 1:
                    words[i] = child.begin.value + random() % bytes.size() / 8 * 8;
                    break;
                case 2:
                    words[i] = real[random() % real.size()].pc.value + random() % 3;
                    break;
                default:
                    words[i] = random() % 16;
            }
        }
        registers.raw.rip =
            round % 2 == 0 ? random() : real[random() % real.size()].pc.value + random() % 64;
        registers.raw.rbp = child.begin.value + random() % bytes.size();
        if (round % 3 == 0) registers.raw.rsp = child.begin.value + random() % bytes.size();
        std::vector<modules::NativeFrame> frames;
        (*unwinder)->unwind(registers, StackBytes(child.begin, bytes), {.max_frames = 2000},
                            frames);
        CHECK(!frames.empty());
        CHECK(frames.size() <= 2000);
    }
}

TEST_CASE("the vDSO from memory") {
    StoppedChild child([] { wait_forever(); });
    modules::CodeMap map(*child.target);
    REQUIRE(map.update());
    const auto mappings = *child.target->mappings();
    const auto vdso =
        std::find_if(mappings.begin(), mappings.end(),
                     [](const elf::Mapping& mapping) { return mapping.path == "[vdso]"; });
    if (vdso == mappings.end()) return;
    const modules::CodeMap::Area* area = map.find(vdso->range.begin + 0x800);
    REQUIRE(area != nullptr);
    const auto module = map.module(area->module);
    REQUIRE(module);
    const modules::SymbolTable symbols(modules::ElfSections(module->bytes()), SHT_DYNSYM);
    CHECK(symbols.size() > 3);
    const modules::FdeIndex functions(module);
    int with_rule = 0;
    CfiTable table(module, {});
    for (std::uint64_t address = 0; address < module->bytes().size(); address += 16) {
        if (functions.find(address) && table.rule(address).kind != UnwindRule::Kind::kNone)
            ++with_rule;
    }
    CHECK(with_rule > 10);
}

}  // namespace
}  // namespace pystack::unwind
