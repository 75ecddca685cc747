#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "modules/elf_sections.h"

namespace pystack::modules {

struct FunctionSymbol {
    std::uint64_t begin = 0;  ///< As in the file.
    std::uint64_t end = 0;
    std::string_view name;  ///< Mangled, without a version; in the bytes of the file.
    /// The symbol says where the function ends. Else `end` is where it ends at the latest.
    bool has_size = true;
};

/// The functions that one symbol table of a file knows, by address.
class SymbolTable {
  public:
    SymbolTable() = default;
    /// `type` is SHT_SYMTAB or SHT_DYNSYM.
    SymbolTable(const ElfSections& sections, std::uint32_t type);

    /// The function with `address` inside of it, or null: never a neighbour, if the symbol has a
    /// size. (See find_function for those that have none.) Of several the innermost, and of aliases
    /// the one that a programmer would know: exported before local, without underscores before
    /// with.
    const FunctionSymbol* find(std::uint64_t address) const;
    bool empty() const { return symbols_.empty(); }
    std::size_t size() const { return symbols_.size(); }

  private:
    std::vector<FunctionSymbol> symbols_;      // By begin; of aliases the best is last.
    std::vector<std::uint64_t> furthest_end_;  // Of the symbols up to the same index.
};

}  // namespace pystack::modules
