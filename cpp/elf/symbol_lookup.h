#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/byte_reader.h"

namespace pystack::elf {

struct Symbol {
    std::string name;
    std::uint64_t address = 0;  ///< As in the file: add the module's bias.
    std::uint64_t size = 0;
    bool is_function = false;
};

struct SymbolTable {
    ByteSpan symbols;  ///< Elf64_Sym each; a trailing part of one is ignored.
    ByteSpan names;
};

/// Looks for symbols by name in one pass, and fills the answers that are still absent. Only defined
/// symbols with an address count, neither absolute nor thread-local ones; a global symbol goes
/// before a local one of the same name.
void look_up(const SymbolTable& table, std::span<const std::string_view> names,
             std::vector<std::optional<Symbol>>& answers);

/// How many symbols a DT_GNU_HASH table covers: the format does not say, so the last chain is
/// followed to its end. Symbols before the first hashed one are undefined ones.
std::uint64_t count_by_gnu_hash(ByteSpan table);

}  // namespace pystack::elf
