#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "arch/registers.h"
#include "base/result.h"
#include "memory/memory_reader.h"
#include "modules/code_map.h"
#include "modules/debug_files.h"
#include "modules/native_frame.h"
#include "target/target.h"
#include "unwind/cfi_table.h"
#include "unwind/frame_guesser.h"
#include "unwind/rule_cache.h"

namespace pystack::unwind {

/// Turns registers and stack bytes that were copied from a thread into its native stack, by the
/// call frame information of the target's files (read by elfutils). It reads neither registers nor
/// stack of the target itself, so the target can run meanwhile; live processes and cores are the
/// same to it. Belongs to one thread at a time.
class NativeUnwinder {
  public:
    /// Reads the target's mappings. `target` must outlive the unwinder. Of debug files only call
    /// frame information is used, for modules that have none of their own.
    static Result<std::unique_ptr<NativeUnwinder>> create(
        const target::Target& target, modules::DebugFileOptions debug_files = {});

    /// Looks at the mappings again: for long recordings, since a module that replaced another one
    /// at the same address is not noticed otherwise. (A module at a new address is: see
    /// CodeMap::update_for.)
    Result<void> update_modules();

    /// See CodeMap::update_registered: for recordings, before each sample. Costs little.
    void update_registered() {
        if (code_map_.update_registered()) rules_.clear();
    }

    /// Appends the frames to `out`, innermost first. `stack` should hold the copied stack bytes and
    /// nothing else: a reader that falls back to the running target would mix two moments. See
    /// StackBytes.
    modules::UnwindResult unwind(const arch::Registers& registers,
                                 const memory::MemoryReader& stack,
                                 const modules::UnwindLimits& limits,
                                 std::vector<modules::NativeFrame>& out);

    /// The modules that NativeFrame::module counts.
    modules::CodeMap& code_map() { return code_map_; }

  private:
    NativeUnwinder(const target::Target& target, modules::DebugFileOptions debug_files)
        : debug_files_(std::move(debug_files)),
          code_memory_(target.memory()),
          code_map_(target),
          guesser_(target.memory(), code_map_) {}

    struct Walk;
    static void note_signal(const Walk& walk, modules::NativeFrame& frame);

    CachedRule rule_for(RemoteAddr lookup_address);
    CachedRule find_rule(RemoteAddr lookup_address);
    CfiTable* table(std::uint32_t module);
    std::optional<modules::UnwindResult> advance(Walk& walk, const CachedRule& rule);
    bool advance_by_guessed_rule(Walk& walk, const CachedRule& rule);
    std::optional<modules::UnwindResult> advance_by_guess(Walk& walk, const CachedRule& rule);

    modules::DebugFileOptions debug_files_;
    const memory::MemoryReader& code_memory_;
    modules::CodeMap code_map_;
    FrameGuesser guesser_;
    std::vector<std::unique_ptr<CfiTable>> tables_;  // By module; null until it is needed.
    RuleCache rules_;
};

}  // namespace pystack::unwind
