#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "unwind/unwind_rule.h"

namespace pystack::unwind {

/// The rules that an instruction may have in a function with neither call frame information nor a
/// symbol: found by following what the function does from there until it returns. `code` is what
/// the instruction lies in, at `place`. Guesses: calls are taken to return. Most functions give
/// one; empty when no way leads to a return.
std::vector<UnwindRule> follow_epilogue(std::span<const std::byte> code, std::size_t place);

}  // namespace pystack::unwind
