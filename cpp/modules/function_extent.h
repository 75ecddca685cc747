#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "modules/code_module.h"
#include "modules/fde_index.h"
#include "modules/symbol_table.h"

namespace pystack::modules {

/// Whether the function that begins with `code` still goes on `distance` bytes behind its
/// beginning: no return or jump before that ends it, with nothing in it that leads further. For
/// code without any other sign of where functions end.
bool reaches(std::span<const std::byte> code, std::uint64_t distance);

/// The function with `file_address` inside of it, or null. A symbol without a size counts only as
/// far as its function goes: hand-written assembler has such symbols, and what follows it may have
/// none. `functions` are those of the module.
const FunctionSymbol* find_function(const SymbolTable& symbols, const CodeModule& module,
                                    const FdeIndex& functions, std::uint64_t file_address);

}  // namespace pystack::modules
