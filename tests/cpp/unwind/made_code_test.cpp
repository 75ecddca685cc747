#include <elf.h>
#include <sys/mman.h>

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "modules/elf_sections.h"
#include "modules/jit_file.h"
#include "modules/symbol_table.h"
#include "support/stopped_child.h"
#include "unwind/stack_bytes.h"

using pystack::testing::StoppedChild;
using pystack::testing::wait_forever;

// gdb's JIT interface, as a compiler has it.
struct JitEntry {
    JitEntry* next;
    JitEntry* previous;
    const void* file;
    std::uint64_t file_size;
};
struct JitDescriptor {
    std::uint32_t version;
    std::uint32_t action;
    JitEntry* relevant;
    JitEntry* first;
};
extern "C" {
JitDescriptor __jit_debug_descriptor = {1, 0, nullptr, nullptr};
}

namespace pystack::unwind {
namespace {

using Code = std::vector<std::uint8_t>;
using MadeFunction = void (*)(void (*)());

/// Where the made code is called from: it must be what is found behind it.
extern "C" __attribute__((noinline)) void calls_made_code(MadeFunction made) {
    made(wait_forever);
    AFTER_CALL;
}

std::byte* executable_page() {
    return static_cast<std::byte*>(::mmap(nullptr, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
                                          MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
}

std::string name_of(NativeUnwinder& unwinder, const modules::NativeFrame& frame) {
    const auto& module = unwinder.code_map().module(frame.module);
    if (module == nullptr) return "";
    const modules::ElfSections sections(module->bytes());
    const modules::SymbolTable table(sections, SHT_SYMTAB);
    const auto* symbol = table.find(module->file_address(frame.lookup_address()));
    return symbol != nullptr ? std::string(symbol->name) : "";
}

// The third and fourth argument of CPython's trampolines are not used; the evaluator is in rcx.
struct Trampoline {
    Code code;
    std::vector<std::size_t> instructions;
    std::size_t behind_call;
};
const Trampoline kWithRoom = {
    {0x48, 0x83, 0xec, 0x08, 0xff, 0xd1, 0x48, 0x83, 0xc4, 0x08, 0xc3}, {0, 4, 6, 10}, 6};
const Trampoline kWithFramePointer = {
    {0x55, 0x48, 0x89, 0xe5, 0xff, 0xd1, 0x5d, 0xc3}, {0, 1, 4, 6, 7}, 6};
const Trampoline kWithLandingPad = {
    {0xf3, 0x0f, 0x1e, 0xfa, 0x48, 0x83, 0xec, 0x08, 0xff, 0xd1, 0x48, 0x83, 0xc4, 0x08, 0xc3},
    {0, 4, 8, 10, 14},
    10};

TEST_CASE("each instruction of the trampolines that CPython makes for perf") {
    for (const Trampoline& trampoline : {kWithRoom, kWithFramePointer, kWithLandingPad}) {
        StoppedChild child([&] {
            std::byte* page = executable_page();
            // mov %rdi,%rcx, in front: these are called by calls_made_code.
            constexpr std::array<std::uint8_t, 3> kToFourth = {0x48, 0x89, 0xf9};
            constexpr std::size_t kPlace = 64;
            std::memcpy(page + kPlace, trampoline.code.data(), trampoline.code.size());
            std::memcpy(page, kToFourth.data(), kToFourth.size());
            // jmp to the trampoline.
            page[3] = std::byte{0xeb};
            page[4] = std::byte{kPlace - 5};
            calls_made_code(reinterpret_cast<MadeFunction>(page));
        });
        const auto unwinder = NativeUnwinder::create(*child.target);
        REQUIRE(unwinder);
        std::vector<modules::NativeFrame> frames;
        CHECK(child.unwind(**unwinder, frames).end == modules::UnwindEnd::kComplete);
        const auto made = std::ranges::find_if(frames, &modules::NativeFrame::is_perf_trampoline);
        REQUIRE(made != frames.end());
        CHECK(std::ranges::count_if(frames, &modules::NativeFrame::is_perf_trampoline) == 1);
        const modules::NativeFrame caller = *(made + 1);
        CHECK(name_of(**unwinder, caller) == "calls_made_code");
        CHECK(caller.origin == modules::FrameOrigin::kCallFrameInfo);
        // As if it had been stopped at any of its instructions.
        const std::uint64_t begin = made->pc.value - trampoline.behind_call;
        for (std::size_t i = 0; i < trampoline.instructions.size(); ++i) {
            const bool is_entered = trampoline.instructions[i] == 0 ||
                                    i + 1 == trampoline.instructions.size() ||
                                    trampoline.code[trampoline.instructions[i - 1]] == 0xf3;
            arch::Registers registers = child.registers;
            registers.raw.rip = begin + trampoline.instructions[i];
            registers.raw.rsp = caller.sp.value - (is_entered ? 8 : 16);
            registers.raw.rbp = 0;
            std::vector<modules::NativeFrame> found;
            (*unwinder)->unwind(registers, StackBytes(child.begin, child.bytes), {}, found);
            CAPTURE(trampoline.instructions[i]);
            REQUIRE(found.size() > 1);
            CHECK(found[0].is_perf_trampoline);
            CHECK(found[1].pc == caller.pc);
            CHECK(found[1].sp == caller.sp);
        }
    }
}

/// push %rbp; xor %ebp,%ebp; sub $0x20,%rsp; call *%rdi; add $0x20,%rsp; pop %rbp; ret. Nobody
/// finds its caller without tables: rbp is that of an outermost frame.
const Code kMadeFunction = {0x55, 0x31, 0xed, 0x48, 0x83, 0xec, 0x20, 0xff,
                            0xd7, 0x48, 0x83, 0xc4, 0x20, 0x5d, 0xc3};

template <class T>
void append(std::vector<std::byte>& bytes, const T& value) {
    const auto* begin = reinterpret_cast<const std::byte*>(&value);
    bytes.insert(bytes.end(), begin, begin + sizeof value);
}

/// Its unwind tables, with absolute addresses.
std::vector<std::byte> frame_section(std::uint64_t code) {
    std::vector<std::byte> bytes;
    const auto instructions = [&bytes](std::initializer_list<int> values) {
        for (const int value : values) bytes.push_back(static_cast<std::byte>(value));
    };
    append(bytes, std::uint32_t{20});
    append(bytes, std::uint32_t{0});
    instructions({1, 0, 1, 0x78, 16});    // version, no augmentation, units, return register
    instructions({0x0c, 7, 8, 0x90, 1});  // CFA = rsp+8, return address at CFA-8
    instructions({0, 0, 0, 0, 0, 0});
    append(bytes, std::uint32_t{28});
    append(bytes, std::uint32_t{28});
    append(bytes, code);
    append(bytes, std::uint64_t{kMadeFunction.size()});
    instructions({0x41, 0x0e, 16, 0x86, 2});  // behind the push
    instructions({0x46, 0x0e, 48});           // behind the sub
    append(bytes, std::uint32_t{0});
    return bytes;
}

/// What LLVM registers: a relocatable file whose sections say where they were loaded.
std::vector<std::byte> jit_file(std::uint64_t code, std::uint64_t frames,
                                std::uint64_t frames_size) {
    static constexpr char kTexts[] = "\0.text\0.eh_frame\0.symtab\0.strtab\0made_function";
    std::array<Elf64_Shdr, 5> sections{};
    const std::uint64_t texts = sizeof(Elf64_Ehdr) + sizeof sections;
    const std::uint64_t symbols = texts + sizeof kTexts;
    sections[1] = {.sh_name = 1,
                   .sh_type = SHT_PROGBITS,
                   .sh_flags = SHF_ALLOC | SHF_EXECINSTR,
                   .sh_addr = code,
                   .sh_offset = texts,
                   .sh_size = kMadeFunction.size(),
                   .sh_link = 0,
                   .sh_info = 0,
                   .sh_addralign = 1,
                   .sh_entsize = 0};
    sections[2] = {.sh_name = 7,
                   .sh_type = SHT_PROGBITS,
                   .sh_flags = SHF_ALLOC,
                   .sh_addr = frames,
                   .sh_offset = texts,
                   .sh_size = frames_size,
                   .sh_link = 0,
                   .sh_info = 0,
                   .sh_addralign = 1,
                   .sh_entsize = 0};
    sections[3] = {.sh_name = 17,
                   .sh_type = SHT_SYMTAB,
                   .sh_flags = 0,
                   .sh_addr = 0,
                   .sh_offset = symbols,
                   .sh_size = 2 * sizeof(Elf64_Sym),
                   .sh_link = 4,
                   .sh_info = 0,
                   .sh_addralign = 1,
                   .sh_entsize = sizeof(Elf64_Sym)};
    sections[4] = {.sh_name = 25,
                   .sh_type = SHT_STRTAB,
                   .sh_flags = 0,
                   .sh_addr = 0,
                   .sh_offset = texts,
                   .sh_size = sizeof kTexts,
                   .sh_link = 0,
                   .sh_info = 0,
                   .sh_addralign = 1,
                   .sh_entsize = 0};
    Elf64_Ehdr header{};
    std::memcpy(header.e_ident, ELFMAG, SELFMAG);
    header.e_ident[EI_CLASS] = ELFCLASS64;
    header.e_ident[EI_DATA] = ELFDATA2LSB;
    header.e_type = ET_REL;
    header.e_machine = EM_X86_64;
    header.e_shoff = sizeof header;
    header.e_shentsize = sizeof(Elf64_Shdr);
    header.e_shnum = sections.size();
    header.e_shstrndx = 4;
    Elf64_Sym symbol{};
    symbol.st_name = 33;
    symbol.st_info = ELF64_ST_INFO(STB_GLOBAL, STT_FUNC);
    symbol.st_shndx = 1;
    symbol.st_size = kMadeFunction.size();
    std::vector<std::byte> file;
    append(file, header);
    append(file, sections);
    append(file, kTexts);
    append(file, Elf64_Sym{});
    append(file, symbol);
    return file;
}

/// What a child registers; it lives until the child ends.
struct Registered {
    std::byte* page = executable_page();
    std::vector<std::byte> frames;
    std::vector<std::byte> file;
    JitEntry entry{};

    Registered() {
        std::memcpy(page, kMadeFunction.data(), kMadeFunction.size());
        const auto code = reinterpret_cast<std::uint64_t>(page);
        frames = frame_section(code);
        file = jit_file(code, reinterpret_cast<std::uint64_t>(frames.data()), frames.size());
        entry.file = file.data();
        entry.file_size = file.size();
        entry.next = __jit_debug_descriptor.first;
        __jit_debug_descriptor.first = &entry;
    }
    void call() { calls_made_code(reinterpret_cast<MadeFunction>(page)); }
};

void check_that_it_is_found(const StoppedChild& child) {
    const auto unwinder = NativeUnwinder::create(*child.target);
    REQUIRE(unwinder);
    std::vector<modules::NativeFrame> frames;
    (*unwinder)->unwind(child.registers, StackBytes(child.begin, child.bytes), {}, frames);
    const auto made = std::ranges::find_if(frames, [&](const modules::NativeFrame& frame) {
        return name_of(**unwinder, frame) == "made_function";
    });
    REQUIRE(made != frames.end());
    CHECK((*unwinder)->code_map().path(made->module) == modules::kJitPath);
    REQUIRE(made + 1 != frames.end());
    CHECK(name_of(**unwinder, *(made + 1)) == "calls_made_code");
    CHECK((made + 1)->origin == modules::FrameOrigin::kCallFrameInfo);
}

TEST_CASE("code that a compiler has registered for debuggers") {
    const StoppedChild child([] {
        Registered made;
        made.call();
    });
    check_that_it_is_found(child);
}

TEST_CASE("damaged entries hide none of those before them, and rings end") {
    const StoppedChild child([] {
        JitEntry ring{};
        ring.next = &ring;
        ring.file = &ring;  // No ELF file.
        ring.file_size = sizeof ring;
        __jit_debug_descriptor.first = &ring;
        JitEntry nowhere{.next = &ring, .previous = nullptr, .file = nullptr, .file_size = ~0UL};
        __jit_debug_descriptor.first = &nowhere;
        Registered made;
        made.call();
    });
    check_that_it_is_found(child);
}

TEST_CASE("a file in memory cannot claim code of other files") {
    const StoppedChild child([] {
        Registered made;
        const auto own_code = reinterpret_cast<std::uint64_t>(&calls_made_code);
        Elf64_Shdr text;
        const std::size_t place = sizeof(Elf64_Ehdr) + sizeof text;
        std::memcpy(&text, made.file.data() + place, sizeof text);
        text.sh_addr = own_code;
        std::memcpy(made.file.data() + place, &text, sizeof text);
        made.call();
    });
    const auto unwinder = NativeUnwinder::create(*child.target);
    REQUIRE(unwinder);
    std::vector<modules::NativeFrame> frames;
    (*unwinder)->unwind(child.registers, StackBytes(child.begin, child.bytes), {}, frames);
    for (const modules::NativeFrame& frame : frames)
        CHECK(name_of(**unwinder, frame) != "made_function");
}

TEST_CASE("registered code is looked for when code of no file is met") {
    StoppedChild child([] {
        Registered made;
        made.call();
    });
    modules::CodeMap map(*child.target);
    REQUIRE(map.update());
    const auto* const descriptor = reinterpret_cast<const std::byte*>(&__jit_debug_descriptor);
    CHECK(!map.update_registered());  // Nobody has asked for such code.
    const auto first = child.target->memory().read_pointer(
        RemoteAddr{reinterpret_cast<std::uint64_t>(descriptor)} + offsetof(JitDescriptor, first));
    REQUIRE(first);
    const auto file = child.target->memory().read_pointer(*first + offsetof(JitEntry, file));
    REQUIRE(file);
    const auto size =
        child.target->memory().read_value<std::uint64_t>(*first + offsetof(JitEntry, file_size));
    REQUIRE(size);
    const auto jit = modules::find_jit_code(child.target->memory(), {*file, *file + *size});
    REQUIRE(jit);
    REQUIRE(jit->code.size() == 1);
    const RemoteAddr code = jit->code.front().begin;
    REQUIRE(map.find(code) != nullptr);
    CHECK(map.find(code)->module == modules::kNoModule);
    CHECK(map.update_for(code));
    CHECK(map.find(code)->module != modules::kNoModule);
    CHECK(!map.update_registered());
}

}  // namespace
}  // namespace pystack::unwind
