#include "symbols/plt_names.h"

#include <elf.h>

#include <cstring>
#include <span>
#include <string_view>

namespace pystack::symbols {

namespace {

constexpr std::uint64_t kEntrySize = 16;
constexpr std::uint64_t kShortEntrySize = 8;  // Of .plt.got without -z ibtplt.
/// Of one file: its sections may overlap.
constexpr std::uint64_t kMaxRelocations = 1 << 20;

/// The address that the first `jmp *distance(%rip)` of an entry reads.
std::optional<std::uint64_t> jump_slot(std::span<const std::byte> entry, std::uint64_t address) {
    constexpr std::size_t kJumpSize = 6;
    for (std::size_t at = 0; at + kJumpSize <= entry.size(); ++at) {
        if (entry[at] != std::byte{0xff} || entry[at + 1] != std::byte{0x25}) continue;
        std::int32_t distance;
        std::memcpy(&distance, entry.data() + at + 2, sizeof distance);
        return address + at + kJumpSize + static_cast<std::uint64_t>(std::int64_t{distance});
    }
    return std::nullopt;
}

/// The name of the symbol that is written to `slot`.
std::string_view relocated_symbol(const modules::ElfSections& sections, std::uint64_t slot) {
    std::uint64_t left = kMaxRelocations;
    for (const modules::ElfSection& section : sections.all()) {
        if (section.type != SHT_RELA || (section.flags & SHF_ALLOC) == 0) continue;
        const std::uint64_t count =
            std::min<std::uint64_t>(section.bytes.size() / sizeof(Elf64_Rela), left);
        left -= count;
        for (std::uint64_t i = 0; i < count; ++i) {
            Elf64_Rela relocation;
            std::memcpy(&relocation, section.bytes.data() + i * sizeof relocation,
                        sizeof relocation);
            if (relocation.r_offset != slot || section.link >= sections.all().size()) continue;
            const modules::ElfSection& symbols = sections.all()[section.link];
            const std::uint64_t place = ELF64_R_SYM(relocation.r_info) * sizeof(Elf64_Sym);
            if (place + sizeof(Elf64_Sym) > symbols.bytes.size() ||
                symbols.link >= sections.all().size()) {
                continue;
            }
            Elf64_Sym symbol;
            std::memcpy(&symbol, symbols.bytes.data() + place, sizeof symbol);
            return modules::text_at(sections.all()[symbols.link].bytes, symbol.st_name);
        }
    }
    return {};
}

}  // namespace

std::optional<std::string> plt_name(const modules::CodeModule& module,
                                    const modules::ElfSections& sections,
                                    std::uint64_t file_address) {
    const modules::ElfSection* section = sections.at(file_address);
    if (section == nullptr || !section->name.starts_with(".plt")) return std::nullopt;
    const bool is_short = section->name == ".plt.got" && section->size % kEntrySize != 0;
    const std::uint64_t size = is_short ? kShortEntrySize : kEntrySize;
    const std::uint64_t entry = file_address - (file_address - section->address) % size;
    const auto bytes = module.bytes_at(entry);
    const auto slot = jump_slot(bytes.first(std::min<std::size_t>(bytes.size(), size)), entry);
    if (!slot) return std::nullopt;
    const std::string_view name = relocated_symbol(sections, *slot);
    if (name.empty()) return std::nullopt;
    return std::string(name) + "@plt";
}

}  // namespace pystack::symbols
