#include "unwind/frame_guesser.h"

#include <elf.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <span>

#include "base/pages.h"
#include "base/text.h"
#include "modules/elf_sections.h"
#include "modules/function_extent.h"
#include "unwind/epilogue_x86_64.h"
#include "unwind/prologue_x86_64.h"
#include "unwind/start_code.h"

namespace pystack::unwind {

namespace {

constexpr std::uint64_t kWordSize = sizeof(std::uint64_t);

/// What a prologue can take; most take a quarter.
constexpr std::uint64_t kMaxPrologue = 512;

/// mov $15, %rax; syscall: rt_sigreturn, where a signal handler returns to in any Linux C library.
/// glibc has call frame information for it, musl has none.
constexpr std::array<std::uint8_t, 9> kSignalReturn = {0x48, 0xc7, 0xc0, 0x0f, 0, 0, 0, 0x0f, 0x05};
/// Of the registers in the ucontext that sp points to there (the kernel's asm/ucontext.h,
/// asm/sigcontext.h).
constexpr std::uint64_t kSignalRegisters = 40;
/// Their DWARF numbers, in the order of struct sigcontext_64.
constexpr std::array<std::uint8_t, arch::kRegisterCount> kSignalOrder = {
    8, 9, 10, 11, 12, 13, 14, 15, 5, 4, 6, 3, 1, 0, 2, 7, 16};

/// CPython's JIT (3.13, 3.14): compiled code is entered through a stub at the beginning of a page
/// that saves the registers and calls what follows it (Tools/jit/shim.c). The code itself keeps no
/// frame pointer.
constexpr std::uint64_t kMaxEntryStub = 64;
constexpr int kEntryStubSaves = 4;
/// How far above the stack pointer the stub's frame is looked for: what compiled code spills is
/// less.
constexpr std::uint64_t kMaxJitFrame = 1024;

std::optional<std::uint64_t> read_word(const memory::MemoryReader& memory, RemoteAddr address) {
    std::uint64_t value;
    const auto bytes = std::as_writable_bytes(std::span(&value, 1));
    if (memory.read_up_to(address, bytes) != bytes.size()) return std::nullopt;
    return value;
}

std::optional<std::uint64_t> frame_pointer(const FrameGuesser::Frame& frame) {
    std::optional<RemoteAddr> ignored;
    return frame.registers.get(arch::kFramePointerRegister, frame.stack, ignored);
}

}  // namespace

/// Null for code of no file.
const modules::CodeModule* FrameGuesser::module_at(RemoteAddr address) {
    const modules::CodeMap::Area* area = code_map_.find(address);
    return area != nullptr ? code_map_.module(area->module).get() : nullptr;
}

std::size_t FrameGuesser::read_code(RemoteAddr address, std::span<std::byte> destination) {
    const modules::CodeModule* const module = module_at(address);
    if (module == nullptr) return code_memory_.read_up_to(address, destination);
    const auto bytes = module->bytes_at(module->file_address(address));
    const std::size_t size = std::min(bytes.size(), destination.size());
    if (size > 0) std::memcpy(destination.data(), bytes.data(), size);
    return size;
}

bool FrameGuesser::is_return_address(RemoteAddr address) {
    constexpr std::uint64_t kLongestCall = 8;
    if (address.value <= kLongestCall || code_map_.find(address - 1) == nullptr) return false;
    std::array<std::byte, kLongestCall> code;
    return read_code(address - kLongestCall, code) == code.size() && ends_with_call(code);
}

std::optional<UnwindRule> FrameGuesser::rule_in_module(std::uint32_t module,
                                                       RemoteAddr lookup_address) {
    const auto& code = code_map_.module(module);
    if (!code) return std::nullopt;
    if (module >= symbols_.size()) symbols_.resize(code_map_.module_count());
    if (!symbols_[module]) {
        const modules::ElfSections sections(code->bytes());
        symbols_[module] = std::make_unique<modules::SymbolTable>(sections, SHT_SYMTAB);
        if (symbols_[module]->empty())
            symbols_[module] = std::make_unique<modules::SymbolTable>(sections, SHT_DYNSYM);
    }
    const std::uint64_t address = code->file_address(lookup_address);
    const modules::FunctionSymbol* function =
        modules::find_function(*symbols_[module], *code, modules::FdeIndex(code), address);
    if (function == nullptr) return std::nullopt;
    const auto bytes = code->bytes_at(function->begin);
    const std::uint64_t size =
        std::min({address - function->begin, kMaxPrologue, std::uint64_t{bytes.size()}});
    return follow_prologue(bytes.first(size));
}

std::optional<FrameGuesser::Guess> FrameGuesser::caller(const Frame& frame, bool is_code,
                                                        std::optional<RemoteAddr>& fault) {
    if (!is_code) return frame.is_activation ? from_return_address(frame, fault) : std::nullopt;
    if (auto guess = from_signal_return(frame, fault)) return guess;
    if (auto guess = from_entry_stub(frame)) return guess;
    if (auto guess = from_epilogue(frame)) return guess;
    std::optional<RemoteAddr> ignored;
    if (frame.is_activation) {
        if (auto guess = from_return_address(frame, ignored)) return guess;
        if (auto guess = from_trampoline(frame)) return guess;
    }
    if (auto guess = from_frame_pointer(frame)) return guess;
    return from_program_entry(frame);
}

bool FrameGuesser::is_outermost(RemoteAddr pc) {
    const modules::CodeModule* const module = module_at(pc - 1);
    return module != nullptr && (is_program_entry(*module, pc - 1) ||
                                 ends_thread(module->bytes_at(module->file_address(pc))));
}

/// C libraries without tables, such as musl, have functions in C with neither symbol nor frame
/// pointer.
std::optional<FrameGuesser::Guess> FrameGuesser::from_epilogue(const Frame& frame) {
    const modules::CodeModule* const module = module_at(frame.pc);
    if (module == nullptr) return std::nullopt;
    const std::uint64_t address = module->file_address(frame.pc);
    // What is jumped back to is near.
    constexpr std::uint64_t kBefore = 1 << 16;
    std::uint64_t begin = address - std::min(address, kBefore);
    auto code = module->bytes_at(begin);
    if (code.size() <= address - begin) code = module->bytes_at(begin = address);
    for (const UnwindRule& rule : follow_epilogue(code, address - begin)) {
        Guess guess{.registers = frame.registers, .origin = modules::FrameOrigin::kPrologue};
        const StepResult result = step(rule, 0, frame.stack, guess.registers);
        std::optional<RemoteAddr> ignored;
        const auto pc = guess.registers.get(arch::kReturnAddressRegister, frame.stack, ignored);
        if (result.outcome == StepOutcome::kStepped && pc && is_return_address({*pc})) return guess;
    }
    return std::nullopt;
}

/// What runs main() does not return, so its epilogue is nowhere; but the program's first function
/// is not far.
std::optional<FrameGuesser::Guess> FrameGuesser::from_program_entry(const Frame& frame) {
    constexpr std::uint64_t kMaxWords = 64;
    for (std::uint64_t word = 0; word < kMaxWords; ++word) {
        const RemoteAddr place = frame.sp + word * kWordSize;
        const auto value = read_word(frame.stack, place);
        if (!value) break;
        const modules::CodeModule* const module = module_at({*value});
        if (module == nullptr || !is_program_entry(*module, {*value}) ||
            !is_return_address({*value})) {
            continue;
        }
        Guess guess{.registers = {}, .origin = modules::FrameOrigin::kReturnAddress};
        guess.registers.set(arch::kReturnAddressRegister, *value);
        guess.registers.set(arch::kStackPointerRegister, (place + kWordSize).value);
        return guess;
    }
    return std::nullopt;
}

std::optional<FrameGuesser::Guess> FrameGuesser::from_signal_return(
    const Frame& frame, std::optional<RemoteAddr>& fault) {
    std::array<std::uint8_t, kSignalReturn.size()> code;
    const auto bytes = std::as_writable_bytes(std::span(code));
    if (read_code(frame.pc, bytes) != bytes.size() || code != kSignalReturn) return std::nullopt;
    Guess guess{.registers = {},
                .origin = modules::FrameOrigin::kCallFrameInfo,
                .caller_is_interrupted = true};
    for (std::size_t i = 0; i < kSignalOrder.size(); ++i) {
        const RemoteAddr place = frame.sp + kSignalRegisters + i * kWordSize;
        const auto value = read_word(frame.stack, place);
        if (!value) {
            fault = place;
            return std::nullopt;
        }
        guess.registers.set(kSignalOrder[i], *value);
    }
    return guess;
}

/// A call through a bad pointer, or a trampoline: nothing was pushed since but the return address.
std::optional<FrameGuesser::Guess> FrameGuesser::from_return_address(
    const Frame& frame, std::optional<RemoteAddr>& fault) {
    const auto value = read_word(frame.stack, frame.sp);
    if (!value) fault = frame.sp;
    if (!value || !is_return_address({*value})) return std::nullopt;
    Guess guess{.registers = frame.registers, .origin = modules::FrameOrigin::kReturnAddress};
    guess.registers.forget_scratch();
    guess.registers.set(arch::kReturnAddressRegister, *value);
    guess.registers.set(arch::kStackPointerRegister, frame.sp.value + kWordSize);
    return guess;
}

/// libffi's trampolines (3.4 and later: trampoline_code_table in src/x86/unix64.S), of which a page
/// is mapped once more for each page of closures. They make room for two words, and jump on. The
/// code of files only: what is made at run time can have anything on the stack.
std::optional<FrameGuesser::Guess> FrameGuesser::from_trampoline(const Frame& frame) {
    const modules::CodeMap::Area* area = code_map_.find(frame.pc);
    if (area == nullptr || area->module == modules::kNoModule) return std::nullopt;
    const std::string& path = code_map_.path(area->module);
    if (!base_name(path).starts_with("libffi")) return std::nullopt;
    std::optional<RemoteAddr> ignored;
    constexpr std::uint64_t kRoom = 2 * kWordSize;
    return from_return_address({.stack = frame.stack,
                                .registers = frame.registers,
                                .pc = frame.pc,
                                .sp = frame.sp + kRoom,
                                .is_activation = true},
                               ignored);
}

std::optional<UnwindRule> FrameGuesser::entry_stub_rule(RemoteAddr return_address) {
    const std::uint64_t size = return_address.value % kPageSize;
    const modules::CodeMap::Area* area = code_map_.find(return_address);
    if (size == 0 || size > kMaxEntryStub || area == nullptr || area->module != modules::kNoModule)
        return std::nullopt;
    std::array<std::byte, kMaxEntryStub> code;
    if (read_code(return_address - size, std::span(code).first(size)) != size) return std::nullopt;
    const auto rule = follow_prologue(std::span(code).first(size));
    if (!rule) return std::nullopt;
    const auto saves = std::count_if(rule->saved.begin(), rule->saved.end(),
                                     [](std::int16_t place) { return place != UnwindRule::kSame; });
    return saves >= kEntryStubSaves ? rule : std::nullopt;
}

bool FrameGuesser::is_in_entry_stub(RemoteAddr pc) {
    const std::uint64_t offset = pc.value % kPageSize;
    if (offset > kMaxEntryStub) return false;
    const RemoteAddr page = pc - offset;
    for (std::uint64_t end = 1; end <= kMaxEntryStub; ++end) {
        if (is_return_address(page + end) && entry_stub_rule(page + end)) return true;
    }
    return false;
}

/// Before or after its call it has saved some registers, or restored some. None of them holds an
/// address behind a call in the interpreter, but by chance.
std::optional<FrameGuesser::Guess> FrameGuesser::from_inside_entry_stub(const Frame& frame) {
    constexpr std::uint64_t kMaxSaved = 8;
    for (std::uint64_t word = 0; word <= kMaxSaved; ++word) {
        const RemoteAddr place = frame.sp + word * kWordSize;
        const auto value = read_word(frame.stack, place);
        if (!value) break;
        const modules::CodeMap::Area* area = code_map_.find({*value});
        if (area == nullptr || area->module == modules::kNoModule || !is_return_address({*value}))
            continue;
        Guess guess{.registers = {}, .origin = modules::FrameOrigin::kReturnAddress};
        if (const auto base = frame_pointer(frame); is_frame(frame.stack, base, place + kWordSize))
            guess.registers.set(arch::kFramePointerRegister, *base);
        guess.registers.set(arch::kReturnAddressRegister, *value);
        guess.registers.set(arch::kStackPointerRegister, (place + kWordSize).value);
        return guess;
    }
    return std::nullopt;
}

/// A frame in a JIT's code becomes that of its entry stub and, at the next step, that becomes its
/// caller.
std::optional<FrameGuesser::Guess> FrameGuesser::from_entry_stub(const Frame& frame) {
    const modules::CodeMap::Area* area = code_map_.find(frame.pc);
    if (area != nullptr && area->module != modules::kNoModule) return std::nullopt;
    if (frame.is_activation && is_in_entry_stub(frame.pc)) return from_inside_entry_stub(frame);
    if (const auto rule = entry_stub_rule(frame.pc); rule && !frame.is_activation) {
        Guess guess{.registers = frame.registers, .origin = modules::FrameOrigin::kPrologue};
        const StepResult result = step(*rule, 0, frame.stack, guess.registers);
        std::optional<RemoteAddr> ignored;
        const auto pc = guess.registers.get(arch::kReturnAddressRegister, frame.stack, ignored);
        if (result.outcome == StepOutcome::kStepped && pc && is_return_address({*pc})) return guess;
    }
    for (std::uint64_t distance = 0; distance < kMaxJitFrame; distance += kWordSize) {
        const RemoteAddr place = frame.sp + distance;
        const auto value = read_word(frame.stack, place);
        if (!value) break;
        if (!entry_stub_rule({*value}) || !is_return_address({*value})) continue;
        // Compiled code may have put the frame pointer to another use, saving it first.
        const RemoteAddr above = place + kWordSize;
        auto base = frame_pointer(frame);
        if (!is_frame(frame.stack, base, above)) {
            const auto saved = read_word(frame.stack, place - kWordSize);
            if (distance > 0 && is_frame(frame.stack, saved, above)) base = saved;
        }
        Guess guess{.registers = {}, .origin = modules::FrameOrigin::kReturnAddress};
        if (base) guess.registers.set(arch::kFramePointerRegister, *base);
        guess.registers.set(arch::kReturnAddressRegister, *value);
        guess.registers.set(arch::kStackPointerRegister, above.value);
        return guess;
    }
    return std::nullopt;
}

/// Whether `base` can be the frame pointer of a frame above an address.
bool FrameGuesser::is_frame(const memory::MemoryReader& stack, std::optional<std::uint64_t> base,
                            RemoteAddr above) {
    if (!base || *base < above.value || *base % kWordSize != 0) return false;
    const auto return_address = read_word(stack, RemoteAddr{*base} + kWordSize);
    return return_address && is_return_address({*return_address});
}

std::optional<FrameGuesser::Guess> FrameGuesser::from_frame_pointer(const Frame& frame) {
    const auto base = frame_pointer(frame);
    if (!is_frame(frame.stack, base, frame.sp)) return std::nullopt;
    const auto outer = read_word(frame.stack, {*base});
    const auto return_address = read_word(frame.stack, RemoteAddr{*base} + kWordSize);
    if (!outer || !return_address) return std::nullopt;
    // Nobody can tell where the other registers were saved.
    Guess guess{.registers = {}, .origin = modules::FrameOrigin::kFramePointer};
    guess.registers.set(arch::kFramePointerRegister, *outer);
    guess.registers.set(arch::kReturnAddressRegister, *return_address);
    guess.registers.set(arch::kStackPointerRegister, *base + 2 * kWordSize);
    return guess;
}

}  // namespace pystack::unwind
