#include "modules/symbol_table.h"

#include <elf.h>

#include <algorithm>
#include <cstring>
#include <ranges>
#include <tuple>

namespace pystack::modules {

namespace {

constexpr std::uint64_t kMaxSymbols = 1 << 23;
/// How many times the size of the table of names all names together may have. Those that end alike
/// share their bytes; a hostile table has one text without end, and millions of names in it.
constexpr std::uint64_t kMaxSharing = 8;
constexpr std::uint64_t kSmallNames = 1 << 20;
/// Functions inside of functions are rare; this bounds what a hostile table can cost per question.
constexpr int kMaxNesting = 256;

struct Candidate {
    FunctionSymbol symbol;
    std::uint16_t section = 0;
    bool is_function = false;
    bool is_local = false;
};

/// Bigger is better.
auto rank(const Candidate& candidate) {
    const std::string_view name = candidate.symbol.name;
    const auto underscores = static_cast<int>(std::min(name.find_first_not_of('_'), name.size()));
    return std::tuple(candidate.symbol.has_size, candidate.is_function, !candidate.is_local,
                      -underscores);
}

bool is_code_section(const ElfSections& sections, std::uint16_t index) {
    const auto all = sections.all();
    return index < all.size() && (all[index].flags & SHF_EXECINSTR) != 0;
}

/// Symbols without a size are those of assembler code that does not say where a function ends: it
/// ends at the latest where the next one of the section begins, or something else that has a name
/// outside of its file. Local symbols that are no functions are labels.
void give_sizes(std::vector<Candidate>& candidates, std::vector<std::uint64_t>& others,
                const ElfSections& sections) {
    std::ranges::sort(others);
    // From the last to the first, so that the next address is known without a search. `next` is
    // that of the symbols behind the ones at the same address, `same` of these themselves.
    std::uint16_t section = 0;
    std::uint64_t next = UINT64_MAX;
    std::uint64_t same = UINT64_MAX;
    for (Candidate& candidate : candidates | std::views::reverse) {
        if (candidate.section != section) {
            section = candidate.section;
            next = same = UINT64_MAX;
        } else if (candidate.symbol.begin != same) {
            next = same;
        }
        same = candidate.symbol.begin;
        if (candidate.symbol.has_size) continue;
        const ElfSection& within = sections.all()[section];
        candidate.symbol.end = std::min(within.address + within.size, next);
        const auto other = std::ranges::upper_bound(others, candidate.symbol.begin);
        if (other != others.end()) candidate.symbol.end = std::min(candidate.symbol.end, *other);
    }
}

}  // namespace

SymbolTable::SymbolTable(const ElfSections& sections, std::uint32_t type) {
    const ElfSection* table = sections.find_type(type);
    if (table == nullptr || table->link >= sections.all().size()) return;
    const auto names = sections.all()[table->link].bytes;
    const std::uint64_t count =
        std::min<std::uint64_t>(table->bytes.size() / sizeof(Elf64_Sym), kMaxSymbols);
    std::vector<Candidate> candidates;
    std::vector<std::uint64_t> others;
    std::uint64_t names_left = kSmallNames + names.size() * kMaxSharing;
    for (std::uint64_t i = 0; i < count; ++i) {
        Elf64_Sym raw;
        std::memcpy(&raw, table->bytes.data() + i * sizeof raw, sizeof raw);
        const auto kind = ELF64_ST_TYPE(raw.st_info);
        const bool is_function = kind == STT_FUNC || kind == STT_GNU_IFUNC;
        const bool is_other = !is_function && (kind != STT_NOTYPE || raw.st_size == 0);
        if (is_other && ELF64_ST_BIND(raw.st_info) == STB_LOCAL) continue;
        if (raw.st_shndx == SHN_UNDEF || !is_code_section(sections, raw.st_shndx)) continue;
        if (is_other) {
            others.push_back(raw.st_value);
            continue;
        }
        if (raw.st_value + raw.st_size < raw.st_value) continue;
        std::string_view name = text_at(names, raw.st_name);
        if (name.size() > names_left) break;
        names_left -= name.size();
        name = name.substr(0, name.find('@'));
        if (name.empty()) continue;
        candidates.push_back(
            {.symbol = {raw.st_value, raw.st_value + raw.st_size, name, raw.st_size != 0},
             .section = raw.st_shndx,
             .is_function = is_function,
             .is_local = ELF64_ST_BIND(raw.st_info) == STB_LOCAL});
    }
    std::sort(candidates.begin(), candidates.end(), [](const Candidate& a, const Candidate& b) {
        return std::tuple(a.symbol.begin, rank(a), b.symbol.name) <
               std::tuple(b.symbol.begin, rank(b), a.symbol.name);
    });
    give_sizes(candidates, others, sections);
    std::uint64_t furthest = 0;
    symbols_.reserve(candidates.size());
    furthest_end_.reserve(candidates.size());
    for (const Candidate& candidate : candidates) {
        furthest = std::max(furthest, candidate.symbol.end);
        symbols_.push_back(candidate.symbol);
        furthest_end_.push_back(furthest);
    }
}

const FunctionSymbol* SymbolTable::find(std::uint64_t address) const {
    const auto after = std::upper_bound(
        symbols_.begin(), symbols_.end(), address,
        [](std::uint64_t wanted, const FunctionSymbol& symbol) { return wanted < symbol.begin; });
    auto index = static_cast<std::size_t>(after - symbols_.begin());
    for (int tries = 0; index > 0 && tries < kMaxNesting; ++tries) {
        --index;
        if (furthest_end_[index] <= address) return nullptr;
        if (address < symbols_[index].end) return &symbols_[index];
    }
    return nullptr;
}

}  // namespace pystack::modules
