#pragma once

#include <cstddef>
#include <optional>
#include <span>

#include "unwind/unwind_rule.h"

namespace pystack::unwind {

/// The rule of a function without call frame information, such as hand-written assembler, at an
/// instruction: found by following its first instructions. `code` holds the function from its first
/// byte up to that instruction (more need not be given). A guess: what the function does to the
/// stack pointer after its prologue is taken to cancel out. nullopt when the caller's frame cannot
/// be told.
std::optional<UnwindRule> follow_prologue(std::span<const std::byte> code);

/// Whether the bytes, which end at an address, end with a call instruction.
bool ends_with_call(std::span<const std::byte> code);

}  // namespace pystack::unwind
