#pragma once

#include <cstdint>
#include <vector>

#include "modules/code_module.h"
#include "modules/fde_index.h"

namespace pystack::symbols {

/// The functions that a function jumps to the beginning of: what compilers make of a call that is
/// the last thing a function does. The stack then shows the called one as if it were the caller.
/// Each once.
std::vector<std::uint64_t> tail_calls(const modules::CodeModule& module,
                                      const modules::FdeIndex& functions,
                                      const modules::FdeIndex::Range& function);

}  // namespace pystack::symbols
