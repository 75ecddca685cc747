#include "elf/symbol_lookup.h"

#include <elf.h>

#include <algorithm>
#include <cstring>

namespace pystack::elf {

namespace {

/// The biggest executables have a few million.
constexpr std::uint64_t kMaxSymbols = 1 << 23;

bool has_address(const Elf64_Sym& symbol) {
    const auto type = ELF64_ST_TYPE(symbol.st_info);
    return symbol.st_shndx != SHN_UNDEF && symbol.st_shndx != SHN_ABS &&
           symbol.st_shndx != SHN_COMMON && type != STT_TLS && type != STT_SECTION &&
           type != STT_FILE;
}

Symbol to_symbol(const Elf64_Sym& raw, std::string_view name) {
    const auto type = ELF64_ST_TYPE(raw.st_info);
    return Symbol{.name = std::string(name),
                  .address = raw.st_value,
                  .size = raw.st_size,
                  .is_function = type == STT_FUNC || type == STT_GNU_IFUNC};
}

}  // namespace

void look_up(const SymbolTable& table, std::span<const std::string_view> names,
             std::vector<std::optional<Symbol>>& answers) {
    struct Wanted {
        std::size_t index;
        std::string_view name;
        bool found_local = false;
    };
    std::vector<Wanted> wanted;
    for (std::size_t i = 0; i < names.size(); ++i) {
        if (!answers[i] && !names[i].empty()) wanted.push_back({i, names[i]});
    }
    const std::uint64_t count =
        std::min<std::uint64_t>(table.symbols.size() / sizeof(Elf64_Sym), kMaxSymbols);
    for (std::uint64_t i = 0; i < count && !wanted.empty(); ++i) {
        Elf64_Sym symbol;
        std::memcpy(&symbol, table.symbols.data() + i * sizeof symbol, sizeof symbol);
        if (symbol.st_name >= table.names.size()) continue;
        const char first = static_cast<char>(table.names[symbol.st_name]);
        for (std::size_t w = 0; w < wanted.size(); ++w) {
            Wanted& candidate = wanted[w];
            if (candidate.name[0] != first) continue;
            if (!text_equals(table.names, symbol.st_name, candidate.name)) continue;
            if (!has_address(symbol)) continue;
            const bool local = ELF64_ST_BIND(symbol.st_info) == STB_LOCAL;
            if (local && candidate.found_local) continue;
            answers[candidate.index] = to_symbol(symbol, candidate.name);
            candidate.found_local = true;
            if (!local) wanted.erase(wanted.begin() + static_cast<std::ptrdiff_t>(w--));
        }
    }
}

std::uint64_t count_by_gnu_hash(ByteSpan table) {
    struct Header {
        std::uint32_t bucket_count;
        std::uint32_t first_symbol;
        std::uint32_t bloom_words;
        std::uint32_t bloom_shift;
    };
    const auto header = value_at<Header>(table, 0);
    if (!header || header->bucket_count > kMaxSymbols) return 0;
    const std::uint64_t buckets = sizeof(Header) + std::uint64_t{header->bloom_words} * 8;
    std::uint64_t last = 0;
    for (std::uint64_t i = 0; i < header->bucket_count; ++i) {
        const auto bucket = value_at<std::uint32_t>(table, buckets + i * 4);
        if (!bucket) return 0;
        last = std::max<std::uint64_t>(last, *bucket);
    }
    if (last < header->first_symbol) return header->first_symbol;
    const std::uint64_t chains = buckets + std::uint64_t{header->bucket_count} * 4;
    for (std::uint64_t index = last; index < kMaxSymbols; ++index) {
        const auto hash =
            value_at<std::uint32_t>(table, chains + (index - header->first_symbol) * 4);
        if (!hash) return index;
        if ((*hash & 1) != 0) return index + 1;
    }
    return kMaxSymbols;
}

}  // namespace pystack::elf
