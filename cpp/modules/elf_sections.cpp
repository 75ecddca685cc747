#include "modules/elf_sections.h"

#include <elf.h>

#include <algorithm>
#include <cstring>

#include "base/byte_reader.h"

namespace pystack::modules {

namespace {

constexpr std::uint64_t kMaxSections = 1 << 20;
/// Longer names are no name that anybody asks for; without a bound, a million of them could share
/// one text of a gigabyte.
constexpr std::uint64_t kMaxName = 256;

}  // namespace

std::string_view text_at(ByteSpan bytes, std::uint64_t offset) {
    if (offset >= bytes.size()) return {};
    const auto* text = reinterpret_cast<const char*>(bytes.data() + offset);
    const std::size_t rest = bytes.size() - offset;
    const void* end = std::memchr(text, 0, rest);
    if (end == nullptr) return {};
    return {text, static_cast<std::size_t>(static_cast<const char*>(end) - text)};
}

ElfSections::ElfSections(ByteSpan file) {
    const auto header = value_at<Elf64_Ehdr>(file, 0);
    if (!header || std::memcmp(header->e_ident, ELFMAG, SELFMAG) != 0 ||
        header->e_ident[EI_CLASS] != ELFCLASS64 || header->e_shoff == 0 ||
        header->e_shentsize != sizeof(Elf64_Shdr)) {
        return;
    }
    const auto first = value_at<Elf64_Shdr>(file, header->e_shoff);
    if (!first) return;
    // Numbers that do not fit the header's 16 bits are in section 0.
    const std::uint64_t count = header->e_shnum != 0 ? header->e_shnum : first->sh_size;
    const std::uint64_t names =
        header->e_shstrndx != SHN_XINDEX ? header->e_shstrndx : first->sh_link;
    if (count > kMaxSections) return;
    const ByteSpan table = part(file, header->e_shoff, count * sizeof(Elf64_Shdr));
    std::vector<std::uint32_t> name_offsets;
    for (std::uint64_t i = 0; i * sizeof(Elf64_Shdr) < table.size(); ++i) {
        const auto raw = *value_at<Elf64_Shdr>(table, i * sizeof(Elf64_Shdr));
        name_offsets.push_back(raw.sh_name);
        sections_.push_back({.name = {},
                             .type = raw.sh_type,
                             .flags = raw.sh_flags,
                             .address = raw.sh_addr,
                             .size = raw.sh_size,
                             .link = raw.sh_link,
                             .bytes = raw.sh_type == SHT_NOBITS || raw.sh_type == SHT_NULL
                                          ? ByteSpan{}
                                          : part(file, raw.sh_offset, raw.sh_size)});
    }
    if (names >= sections_.size()) return;
    for (std::size_t i = 0; i < sections_.size(); ++i) {
        const ByteSpan texts = sections_[names].bytes;
        const std::uint64_t begin = std::min<std::uint64_t>(name_offsets[i], texts.size());
        const ByteSpan rest = texts.subspan(begin);
        sections_[i].name = text_at(rest.first(std::min<std::uint64_t>(rest.size(), kMaxName)), 0);
    }
}

const ElfSection* ElfSections::find(std::string_view name) const {
    const auto found =
        std::find_if(sections_.begin(), sections_.end(),
                     [&](const ElfSection& section) { return section.name == name; });
    return found == sections_.end() ? nullptr : &*found;
}

const ElfSection* ElfSections::find_type(std::uint32_t type) const {
    const auto found =
        std::find_if(sections_.begin(), sections_.end(),
                     [&](const ElfSection& section) { return section.type == type; });
    return found == sections_.end() ? nullptr : &*found;
}

const ElfSection* ElfSections::at(std::uint64_t address) const {
    const auto found =
        std::find_if(sections_.begin(), sections_.end(), [&](const ElfSection& section) {
            return (section.flags & SHF_ALLOC) != 0 && address >= section.address &&
                   address - section.address < section.size;
        });
    return found == sections_.end() ? nullptr : &*found;
}

}  // namespace pystack::modules
