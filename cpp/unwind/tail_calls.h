#pragma once

#include <cstdint>
#include <vector>

#include "unwind/code_module.h"
#include "unwind/fde_index.h"

namespace pystack::unwind {

/// The functions that a function jumps to the beginning of: what compilers make of a call that is
/// the last thing a function does. The stack then shows the called one as if it were the caller.
/// Each once.
std::vector<std::uint64_t> tail_calls(const CodeModule& module, const FdeIndex& functions,
                                      const FdeIndex::Range& function);

}  // namespace pystack::unwind
