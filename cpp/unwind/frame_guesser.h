#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "memory/memory_reader.h"
#include "modules/code_map.h"
#include "modules/native_frame.h"
#include "modules/symbol_table.h"
#include "unwind/register_state.h"
#include "unwind/unwind_rule.h"

namespace pystack::unwind {

/// Callers of code that has no call frame information: hand-written assembler, JIT compilers' code,
/// calls through bad pointers. Each guess is held against the target's code: a return address has a
/// call in front of it.
class FrameGuesser {
  public:
    /// `code_memory` is read for instructions, which do not change while the target runs.
    FrameGuesser(const memory::MemoryReader& code_memory, modules::CodeMap& code_map)
        : code_memory_(code_memory), code_map_(code_map) {}

    /// What a guess makes of a frame.
    struct Guess {
        RegisterState registers;
        modules::FrameOrigin origin = modules::FrameOrigin::kFramePointer;
        bool caller_is_interrupted = false;  ///< By a signal.
    };

    struct Frame {
        const memory::MemoryReader& stack;
        RegisterState& registers;
        RemoteAddr pc;
        RemoteAddr sp;
        bool is_activation = false;
    };

    /// The rule for an instruction of a file, by the function's symbol and its first instructions.
    std::optional<UnwindRule> rule_in_module(std::uint32_t module, RemoteAddr lookup_address);

    /// The caller of a frame in code, or of one (`is_code` false) that is not in any. `fault` is
    /// set when more of the stack might have helped.
    std::optional<Guess> caller(const Frame& frame, bool is_code, std::optional<RemoteAddr>& fault);

    /// Whether there can be no caller: the code of a file at `pc`, behind a call, starts programs
    /// or threads.
    bool is_outermost(RemoteAddr pc);

    /// Executable, with a call instruction in front.
    bool is_return_address(RemoteAddr address);

  private:
    std::optional<Guess> from_signal_return(const Frame& frame, std::optional<RemoteAddr>& fault);
    std::optional<Guess> from_return_address(const Frame& frame, std::optional<RemoteAddr>& fault);
    std::optional<Guess> from_trampoline(const Frame& frame);
    std::optional<Guess> from_entry_stub(const Frame& frame);
    std::optional<Guess> from_frame_pointer(const Frame& frame);
    std::optional<Guess> from_epilogue(const Frame& frame);
    std::optional<Guess> from_program_entry(const Frame& frame);
    std::optional<Guess> from_inside_entry_stub(const Frame& frame);
    bool is_in_entry_stub(RemoteAddr pc);
    std::optional<UnwindRule> entry_stub_rule(RemoteAddr return_address);
    bool is_frame(const memory::MemoryReader& stack, std::optional<std::uint64_t> base,
                  RemoteAddr above);
    const modules::CodeModule* module_at(RemoteAddr address);
    std::size_t read_code(RemoteAddr address, std::span<std::byte> destination);

    const memory::MemoryReader& code_memory_;
    modules::CodeMap& code_map_;
    std::vector<std::unique_ptr<modules::SymbolTable>>
        symbols_;  // By module; null until it is needed.
};

}  // namespace pystack::unwind
