#pragma once

#include <elf.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "support/core_builder.h"

namespace pystack::testing {

inline void put(Bytes& bytes, std::initializer_list<unsigned> values) {
    for (const unsigned value : values) bytes.push_back(static_cast<std::byte>(value));
}

inline void put_text(Bytes& bytes, std::string_view text) {
    append_text(bytes, text);
    bytes.push_back({});
}

/// Writes an ELF file in which every address is the offset in the file.
class ElfBuilder {
  public:
    struct Section {
        std::string name;
        Bytes bytes;
        std::uint32_t type = SHT_PROGBITS;
        std::uint64_t flags = 0;
        std::uint32_t link = 0;
        std::uint64_t entry_size = 0;
    };
    std::vector<Section> sections;
    /// Headers after them, for what the methods do not offer.
    std::uint16_t section_header_size = sizeof(Elf64_Shdr);

    /// Gives its index in the file.
    std::uint32_t add(Section section) {
        sections.push_back(std::move(section));
        return static_cast<std::uint32_t>(sections.size());
    }

    /// .symtab with its .strtab.
    void add_symbols(Bytes symbols, Bytes names) {
        const auto strings =
            add({.name = ".strtab", .bytes = std::move(names), .type = SHT_STRTAB});
        add({.name = ".symtab",
             .bytes = std::move(symbols),
             .type = SHT_SYMTAB,
             .link = strings,
             .entry_size = sizeof(Elf64_Sym)});
    }

    /// The first section begins here.
    static constexpr std::uint64_t kStart = sizeof(Elf64_Ehdr) + 2 * sizeof(Elf64_Phdr);

    Bytes build() const {
        Bytes bytes(kStart);
        Bytes names(1);
        std::vector<Elf64_Shdr> headers(1);
        std::uint64_t frames = 0;
        const auto write = [&](const Section& section) {
            Elf64_Shdr header{};
            header.sh_name = static_cast<std::uint32_t>(names.size());
            put_text(names, section.name);
            header.sh_type = section.type;
            header.sh_flags = section.flags;
            header.sh_addr = (section.flags & SHF_ALLOC) != 0 ? bytes.size() : 0;
            header.sh_offset = bytes.size();
            header.sh_size = section.bytes.size();
            header.sh_link = section.link;
            header.sh_addralign = 1;
            header.sh_entsize = section.entry_size;
            headers.push_back(header);
            if (section.name == ".eh_frame_hdr") frames = bytes.size();
            bytes.insert(bytes.end(), section.bytes.begin(), section.bytes.end());
            bytes.resize((bytes.size() + 15) & ~std::size_t{15});
        };
        for (const Section& section : sections) write(section);
        Section strings{.name = ".shstrtab", .bytes = {}, .type = SHT_STRTAB};
        put_text(names, strings.name);
        strings.bytes = names;
        write(strings);
        headers.back().sh_name = static_cast<std::uint32_t>(strings.bytes.size() - 10);

        Elf64_Ehdr header = elf_header(ET_DYN);
        header.e_phnum = 2;
        header.e_shoff = bytes.size();
        header.e_shnum = static_cast<std::uint16_t>(headers.size());
        header.e_shstrndx = static_cast<std::uint16_t>(headers.size() - 1);
        header.e_shentsize = section_header_size;
        for (const Elf64_Shdr& one : headers) append(bytes, one);
        const Elf64_Word frames_type = frames != 0 ? PT_GNU_EH_FRAME : PT_NULL;
        const Elf64_Phdr programs[2] = {
            {PT_LOAD, PF_R | PF_X, 0, 0, 0, bytes.size(), bytes.size(), 4096},
            {frames_type, PF_R, frames, frames, frames, 64, 64, 4}};
        std::memcpy(bytes.data(), &header, sizeof header);
        std::memcpy(bytes.data() + sizeof header, programs, sizeof programs);
        return bytes;
    }
};

/// Sections of DWARF 4 for 64 bytes of code at ElfBuilder::kStart: a unit of C++ with a function
/// "outer" in a namespace "space", and "inner" inlined into its second half.
struct SmallDwarf {
    static constexpr std::uint64_t kCode = ElfBuilder::kStart;
    static constexpr std::uint64_t kCodeSize = 64;
    Bytes abbreviations;
    Bytes entries;
    Bytes lines;

    SmallDwarf() {
        // A unit, a namespace, a function, an abstract function, an inlined one.
        put(abbreviations, {1, 0x11, 1, 0x13, 0x0b, 0x11, 0x01, 0x12, 0x06, 0x10, 0x17, 0, 0});
        put(abbreviations, {2, 0x39, 1, 0x03, 0x08, 0, 0});
        put(abbreviations, {3, 0x2e, 1, 0x03, 0x08, 0x11, 0x01, 0x12, 0x06, 0, 0});
        put(abbreviations, {4, 0x2e, 0, 0x03, 0x08, 0, 0});
        put(abbreviations,
            {5, 0x1d, 0, 0x31, 0x13, 0x11, 0x01, 0x12, 0x06, 0x58, 0x0b, 0x59, 0x0b, 0, 0});
        put(abbreviations, {0});

        append(entries, std::uint32_t{0});  // The length, see below.
        append(entries, std::uint16_t{4});
        append(entries, std::uint32_t{0});
        put(entries, {8, 1, 0x04});  // C++.
        append(entries, kCode);
        append(entries, static_cast<std::uint32_t>(kCodeSize));
        append(entries, std::uint32_t{0});
        put(entries, {2});
        put_text(entries, "space");
        const auto inner = static_cast<std::uint32_t>(entries.size());
        put(entries, {4});
        put_text(entries, "inner");
        put(entries, {3});
        put_text(entries, "outer");
        append(entries, kCode);
        append(entries, static_cast<std::uint32_t>(kCodeSize));
        put(entries, {5});
        append(entries, inner);
        append(entries, kCode + kCodeSize / 2);
        append(entries, static_cast<std::uint32_t>(kCodeSize / 2));
        put(entries, {1, 77, 0, 0, 0});
        const auto length = static_cast<std::uint32_t>(entries.size() - sizeof(std::uint32_t));
        std::memcpy(entries.data(), &length, sizeof length);

        Bytes header;
        put(header, {1, 1, 1, 0xfb, 14, 13, 0, 1, 1, 1, 1, 0, 0, 0, 1, 0, 0, 1});
        put_text(header, "folder");
        put(header, {0});
        put_text(header, "file.cpp");
        put(header, {1, 0, 0, 0});
        Bytes program;
        put(program, {0, 9, 2});
        append(program, kCode);
        put(program, {3, 9, 1, 2, 32, 3, 20, 1, 2, 32, 0, 1, 1});
        append(lines, static_cast<std::uint32_t>(2 + 4 + header.size() + program.size()));
        append(lines, std::uint16_t{4});
        append(lines, static_cast<std::uint32_t>(header.size()));
        lines.insert(lines.end(), header.begin(), header.end());
        lines.insert(lines.end(), program.begin(), program.end());
    }

    void add_to(ElfBuilder& builder) const {
        builder.add({.name = ".debug_abbrev", .bytes = abbreviations});
        builder.add({.name = ".debug_info", .bytes = entries});
        builder.add({.name = ".debug_line", .bytes = lines});
    }
};

/// .debug_frame for the same code: an entry with the given instructions.
inline Bytes small_frames(const Bytes& instructions) {
    Bytes shared;
    append(shared, std::uint32_t{0xffffffff});
    put(shared, {1, 0, 1, 0x78, 16, 12, 7, 8, 0x90, 1});  // CFA = rsp + 8, rip at CFA - 8.
    Bytes entry;
    append(entry, std::uint32_t{0});
    append(entry, SmallDwarf::kCode);
    append(entry, SmallDwarf::kCodeSize);
    entry.insert(entry.end(), instructions.begin(), instructions.end());
    Bytes frames;
    append(frames, static_cast<std::uint32_t>(shared.size()));
    frames.insert(frames.end(), shared.begin(), shared.end());
    append(frames, static_cast<std::uint32_t>(entry.size()));
    frames.insert(frames.end(), entry.begin(), entry.end());
    return frames;
}

/// A file with a bit of everything.
inline Bytes small_debug_file() {
    ElfBuilder builder;
    builder.add({.name = ".text",
                 .bytes = filled(SmallDwarf::kCodeSize, 0x90),
                 .flags = SHF_ALLOC | SHF_EXECINSTR});
    SmallDwarf().add_to(builder);
    Bytes instructions;
    // push rbp; remembered and restored; a CFA by an expression.
    put(instructions, {0x42, 14, 16, 0x86, 2, 10, 0x44, 12, 6, 16, 0x44, 11, 0x44, 15, 2, 0x77, 8});
    builder.add({.name = ".debug_frame", .bytes = small_frames(instructions)});
    Bytes names(1);
    put_text(names, "outer");
    Bytes symbols(sizeof(Elf64_Sym));
    append(symbols, Elf64_Sym{.st_name = 1,
                              .st_info = ELF64_ST_INFO(STB_GLOBAL, STT_FUNC),
                              .st_other = 0,
                              .st_shndx = 1,
                              .st_value = SmallDwarf::kCode,
                              .st_size = SmallDwarf::kCodeSize});
    builder.add_symbols(symbols, names);
    return builder.build();
}

}  // namespace pystack::testing
