#include "unwind/dwarf_handle.h"

#include <elf.h>
#include <elfutils/libdw.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <string_view>

#include "unwind/elf_sections.h"

namespace pystack::unwind {

namespace {

/// Big, and of no use for names, lines and call frames; libdw would unpack them with all others.
constexpr std::array<std::string_view, 6> kUnusedSections = {".debug_loc",      ".debug_loclists",
                                                             ".debug_macro",    ".debug_names",
                                                             ".debug_pubnames", ".debug_pubtypes"};

std::vector<std::byte> copy_if_packed(std::span<const std::byte> file) {
    const ElfSections sections(file);
    const auto all = sections.all();
    const bool is_packed = std::any_of(all.begin(), all.end(), [](const ElfSection& section) {
        return (section.flags & SHF_COMPRESSED) != 0 || section.name.starts_with(".zdebug");
    });
    if (!is_packed) return {};
    std::vector<std::byte> copied(file.begin(), file.end());
    Elf64_Ehdr header;
    std::memcpy(&header, copied.data(), sizeof header);
    for (std::size_t i = 0; i < all.size(); ++i) {
        if (std::find(kUnusedSections.begin(), kUnusedSections.end(), all[i].name) ==
            kUnusedSections.end())
            continue;
        // ElfSections has checked that the table is there.
        std::byte* const place = copied.data() + header.e_shoff + i * sizeof(Elf64_Shdr);
        Elf64_Shdr section;
        std::memcpy(&section, place, sizeof section);
        section.sh_type = SHT_NOBITS;
        section.sh_flags = 0;
        std::memcpy(place, &section, sizeof section);
    }
    return copied;
}

}  // namespace

DwarfHandle::DwarfHandle(std::span<const std::byte> file)
    : copy_(copy_if_packed(file)), elf_(copy_.empty() ? file : copy_) {
    if (elf_.get() != nullptr) dwarf_ = dwarf_begin_elf(elf_.get(), DWARF_C_READ, nullptr);
}

DwarfHandle::~DwarfHandle() {
    if (dwarf_ != nullptr) dwarf_end(dwarf_);
}

}  // namespace pystack::unwind
