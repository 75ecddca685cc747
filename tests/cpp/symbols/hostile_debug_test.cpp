// Files that somebody made to hurt whoever reads them: each would cost minutes or gigabytes, or
// crash, if it were believed.

#include <doctest/doctest.h>
#include <elf.h>
#include <lzma.h>
#include <zlib.h>

#include <algorithm>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "modules/symbol_table.h"
#include "support/small_debug_file.h"
#include "symbols/debug_info.h"
#include "symbols/plt_names.h"
#include "unwind/cfi_table.h"

namespace pystack::unwind {
namespace {

using testing::append;
using testing::Bytes;
using testing::ElfBuilder;
using testing::MemoryFile;
using testing::put;
using testing::put_text;
using testing::SmallDwarf;

constexpr std::uint64_t kCode = SmallDwarf::kCode;
constexpr std::uint64_t kHalf = kCode + SmallDwarf::kCodeSize / 2;

/// A file with debug information, opened with limits of its own.
struct Opened {
    MemoryFile file;
    std::shared_ptr<WorkLimits> limits;
    std::shared_ptr<const modules::CodeModule> code;
    modules::DebugFileOptions options;
    std::unique_ptr<symbols::DebugInfo> info;

    explicit Opened(const Bytes& bytes, std::uint64_t max_bytes = 64 << 20,
                    std::uint64_t max_steps = 1'000'000)
        : file(bytes), limits(std::make_shared<WorkLimits>(max_bytes, max_steps)) {
        const auto image = elf::ElfImage::open(file.path);
        REQUIRE(image);
        elf::Module module;
        module.path = "/hostile.so";
        module.image = *image;
        code = std::make_shared<const modules::CodeModule>(module);
        options = {.roots = {}, .fetch = {}, .limits = limits};
        info = symbols::DebugInfo::open(code->bytes(), code->path(), code, options);
    }
};

Bytes with(const SmallDwarf& dwarf, std::vector<ElfBuilder::Section> others = {}) {
    ElfBuilder builder;
    builder.add({.name = ".text",
                 .bytes = testing::filled(SmallDwarf::kCodeSize, 0x90),
                 .flags = SHF_ALLOC | SHF_EXECINSTR});
    dwarf.add_to(builder);
    for (auto& section : others) builder.add(std::move(section));
    return builder.build();
}

Bytes zlib(const Bytes& bytes) {
    uLongf size = ::compressBound(bytes.size());
    Bytes packed(size);
    REQUIRE(::compress2(reinterpret_cast<Bytef*>(packed.data()), &size,
                        reinterpret_cast<const Bytef*>(bytes.data()), bytes.size(), 9) == Z_OK);
    packed.resize(size);
    return packed;
}

Bytes compressed(const Bytes& bytes, std::uint64_t promised) {
    Bytes section;
    append(
        section,
        Elf64_Chdr{
            .ch_type = ELFCOMPRESS_ZLIB, .ch_reserved = 0, .ch_size = promised, .ch_addralign = 1});
    const Bytes packed = zlib(bytes);
    section.insert(section.end(), packed.begin(), packed.end());
    return section;
}

void set_length(Bytes& entries) {
    const auto length = static_cast<std::uint32_t>(entries.size() - sizeof(std::uint32_t));
    std::memcpy(entries.data(), &length, sizeof length);
}

TEST_CASE("names, lines and inlined functions of a small file") {
    Opened small(testing::small_debug_file());
    REQUIRE(small.info);
    const auto outer = small.info->frames(kCode);
    REQUIRE(outer.size() == 1);
    CHECK(outer[0].name == "space::outer");
    CHECK(outer[0].file == "folder/file.cpp");
    CHECK(outer[0].line == 10);
    const auto both = small.info->frames(kHalf);
    REQUIRE(both.size() == 2);
    CHECK(both[0].name == "space::inner");
    CHECK(both[0].is_inlined);
    CHECK(both[0].line == 30);
    CHECK(both[1].name == "space::outer");
    CHECK(both[1].line == 77);
    CHECK(small.info->problem().empty());
    CfiTable table(small.code, small.options);
    CHECK(table.rule(kCode).cfa_offset == 8);
    CHECK(table.rule(kCode + 2).cfa_offset == 16);
    CHECK(table.rule(kCode + 6).cfa_register == 6);
    CHECK(table.rule(kCode + 10).cfa_register == 7);
    CHECK(table.rule(kCode + 14).kind == UnwindRule::Kind::kGeneral);
    CHECK(table.rule(kCode + 64).kind == UnwindRule::Kind::kNone);
}

TEST_CASE("siblings that are their own children are not followed") {
    // Each of 60 classes says that the next one, its child, is its sibling as well: whoever follows
    // both visits 2^60 entries.
    SmallDwarf dwarf;
    dwarf.abbreviations.pop_back();
    put(dwarf.abbreviations, {6, 0x13, 1, 0x01, 0x13, 0, 0, 0});
    Bytes& entries = dwarf.entries;
    entries.resize(entries.size() - 3);  // The ends of the lists in function, namespace and unit.
    for (int i = 0; i < 60; ++i) {
        put(entries, {6});
        append(entries, static_cast<std::uint32_t>(entries.size() + 4));
    }
    entries.resize(entries.size() + 63);
    set_length(entries);
    Opened ring(with(dwarf), 64 << 20, 10'000);
    REQUIRE(ring.info);
    CHECK(ring.info->frames(kHalf).size() == 2);
    CHECK_FALSE(ring.limits->exhausted());
}

TEST_CASE("references that lead in a circle end") {
    SmallDwarf dwarf;
    // The inlined function is its own origin.
    const auto self = static_cast<std::uint32_t>(dwarf.entries.size() - 22);
    REQUIRE(dwarf.entries[self] == std::byte{5});
    std::memcpy(dwarf.entries.data() + self + 1, &self, sizeof self);
    Opened circle(with(dwarf));
    REQUIRE(circle.info);
    CHECK(circle.info->frames(kHalf).size() == 2);
}

TEST_CASE("walks over long tables end with the limit") {
    // 4 MiB of entries, then of instructions for lines, each a byte.
    SmallDwarf many;
    many.entries.resize(many.entries.size() - 1);
    Bytes one;
    put(one, {4, 'x', 0});
    for (int i = 0; i < 1 << 20; ++i)
        many.entries.insert(many.entries.end(), one.begin(), one.end());
    many.entries.push_back({});
    set_length(many.entries);
    Opened entries(with(many), 64 << 20, 100'000);
    REQUIRE(entries.info);
    static_cast<void>(entries.info->frames(kCode));
    CHECK(entries.limits->exhausted());

    SmallDwarf lines;
    lines.lines.insert(lines.lines.end(), 4 << 20, std::byte{20});
    set_length(lines.lines);
    Opened rows(with(lines), 1 << 20);
    REQUIRE(rows.info);
    CHECK(rows.info->frames(kCode).size() == 1);
    CHECK(rows.limits->exhausted());
}

TEST_CASE("units that share a long table of abbreviations do not read it again and again") {
    // The last abbreviation of 10,000 is that of the root of each of 10,000 units.
    SmallDwarf dwarf;
    dwarf.abbreviations.clear();
    for (unsigned code = 1; code < 10'000; ++code) {
        put(dwarf.abbreviations, {(code & 0x7f) | 0x80, code >> 7, 0x2e, 0, 0, 0});
    }
    Bytes unit;
    append(unit, std::uint32_t{9});
    append(unit, std::uint16_t{4});
    append(unit, std::uint32_t{0});
    put(unit, {8, (9'999 & 0x7f) | 0x80, 9'999 >> 7});
    dwarf.entries.clear();
    for (int i = 0; i < 10'000; ++i)
        dwarf.entries.insert(dwarf.entries.end(), unit.begin(), unit.end());
    Opened file(with(dwarf), 64 << 20, 100'000);
    REQUIRE(file.info);
    CHECK(file.info->frames(kCode).empty());
    CHECK_FALSE(file.limits->exhausted());
}

TEST_CASE("a section is unpacked only if its size is believable, and within the limit") {
    const auto open = [](const Bytes& section, std::uint64_t limit) {
        SmallDwarf dwarf;
        ElfBuilder builder;
        builder.add({.name = ".debug_info", .bytes = section, .flags = SHF_COMPRESSED});
        builder.add({.name = ".debug_abbrev", .bytes = dwarf.abbreviations});
        builder.add({.name = ".debug_line", .bytes = dwarf.lines});
        return std::make_unique<Opened>(builder.build(), limit);
    };
    const SmallDwarf dwarf;
    const auto honest = open(compressed(dwarf.entries, dwarf.entries.size()), 1 << 20);
    CHECK(honest->info->frames(kCode).size() == 1);
    CHECK(honest->info->problem().empty());

    const Bytes zeros(8 << 20);
    const auto bomb = open(compressed(zeros, zeros.size()), 64 << 20);
    CHECK(bomb->info->frames(kCode).empty());
    CHECK(bomb->info->problem().contains(".debug_info expands from 0.0 MiB to 8.0 MiB"));
    CHECK(bomb->limits->charge_bytes(63 << 20));  // Nothing was taken for it.

    const auto huge = open(compressed(dwarf.entries, std::uint64_t{1} << 62), 64 << 20);
    CHECK(huge->info->frames(kCode).empty());
    CHECK_FALSE(huge->info->problem().empty());

    const auto liar = open(compressed(zeros, 1000), 64 << 20);
    CHECK(liar->info->frames(kCode).empty());
    CHECK(liar->info->problem() == ".debug_info cannot be decompressed");

    Bytes random(2 << 20);
    std::mt19937 generator(1);
    for (std::byte& byte : random) byte = static_cast<std::byte>(generator());
    const auto beyond = open(compressed(random, random.size()), 1 << 20);
    CHECK(beyond->info->problem().contains("exceeds the memory limit"));
}

TEST_CASE("the older form of compressed sections") {
    const SmallDwarf dwarf;
    Bytes section;
    put(section,
        {'Z', 'L', 'I', 'B', 0, 0, 0, 0, 0, 0, 0, static_cast<unsigned>(dwarf.entries.size())});
    const Bytes packed = zlib(dwarf.entries);
    section.insert(section.end(), packed.begin(), packed.end());
    ElfBuilder builder;
    builder.add({.name = ".zdebug_info", .bytes = section});
    builder.add({.name = ".debug_abbrev", .bytes = dwarf.abbreviations});
    builder.add({.name = ".debug_line", .bytes = dwarf.lines});
    Opened file(builder.build());
    REQUIRE(file.info);
    CHECK(file.info->frames(kHalf).size() == 2);
}

TEST_CASE("section headers of a wrong size are not used") {
    const SmallDwarf dwarf;
    ElfBuilder builder;
    builder.section_header_size = 0;
    builder.add({.name = ".debug_info",
                 .bytes = compressed(dwarf.entries, dwarf.entries.size()),
                 .flags = SHF_COMPRESSED});
    builder.add({.name = ".debug_abbrev", .bytes = dwarf.abbreviations});
    Opened file(builder.build());
    CHECK(file.info == nullptr);
}

TEST_CASE("symbols in .gnu_debugdata that unpack to far more than any real ones") {
    const Bytes zeros(16 << 20);
    Bytes packed(1 << 16);
    std::size_t size = 0;
    REQUIRE(lzma_easy_buffer_encode(6, LZMA_CHECK_CRC32, nullptr,
                                    reinterpret_cast<const std::uint8_t*>(zeros.data()),
                                    zeros.size(), reinterpret_cast<std::uint8_t*>(packed.data()),
                                    &size, packed.size()) == LZMA_OK);
    packed.resize(size);
    ElfBuilder builder;
    builder.add({.name = ".gnu_debugdata", .bytes = packed});
    const Bytes file = builder.build();
    WorkLimits limits(64 << 20, 100'000'000);
    CHECK(modules::unpack_debug_data(modules::ElfSections(file), limits).empty());
    CHECK(limits.charge_bytes(64 << 20));
}

TEST_CASE("call frame information with absurd registers, states and sizes") {
    const auto rule = [](std::initializer_list<unsigned> instructions, int repeated = 1) {
        Bytes once;
        put(once, instructions);
        Bytes all;
        for (int i = 0; i < repeated; ++i) all.insert(all.end(), once.begin(), once.end());
        ElfBuilder builder;
        builder.add({.name = ".text",
                     .bytes = testing::filled(SmallDwarf::kCodeSize, 0x90),
                     .flags = SHF_ALLOC | SHF_EXECINSTR});
        builder.add({.name = ".debug_frame", .bytes = testing::small_frames(all)});
        Opened file(builder.build());
        CfiTable table(file.code, file.options);
        return table.rule(kCode + 1).kind;
    };
    // "Register 2^31 is saved": libraries make room for all below it.
    CHECK(rule({5, 0xff, 0xff, 0xff, 0xff, 7, 1}) == UnwindRule::Kind::kPlain);
    CHECK(rule({10}, 1'000'000) == UnwindRule::Kind::kNone);       // States that pile up.
    CHECK(rule({0x0e, 8}, 1'000'000) == UnwindRule::Kind::kNone);  // Instructions without end.
    CHECK(rule({11}) == UnwindRule::Kind::kNone);                  // No state to go back to.
    CHECK(rule({15, 0xff, 0xff, 0xff, 0xff, 0x0f}) == UnwindRule::Kind::kNone);
}

TEST_CASE("100,000 symbols without a size, at one address, cost no more than others") {
    ElfBuilder builder;
    builder.add({.name = ".text",
                 .bytes = testing::filled(SmallDwarf::kCodeSize, 0x90),
                 .flags = SHF_ALLOC | SHF_EXECINSTR});
    Bytes names(1);
    put_text(names, "same");
    Bytes symbols;
    for (int i = 0; i < 200'000; ++i) {
        append(symbols, Elf64_Sym{.st_name = 1,
                                  .st_info = ELF64_ST_INFO(STB_GLOBAL, STT_FUNC),
                                  .st_other = 0,
                                  .st_shndx = 1,
                                  .st_value = kCode + (i < 199'999 ? 0 : 32),
                                  .st_size = 0});
    }
    builder.add_symbols(symbols, names);
    const Bytes file = builder.build();
    const modules::SymbolTable table(modules::ElfSections(file), SHT_SYMTAB);
    REQUIRE(table.find(kCode));
    CHECK(table.find(kCode)->end == kCode + 32);
    REQUIRE(table.find(kCode + 40));
    CHECK(table.find(kCode + 40)->end == kCode + SmallDwarf::kCodeSize);
}

TEST_CASE("symbols and sections that share one endless name are not all read") {
    ElfBuilder builder;
    builder.add({.name = ".text",
                 .bytes = testing::filled(SmallDwarf::kCodeSize, 0x90),
                 .flags = SHF_ALLOC | SHF_EXECINSTR});
    Bytes names = testing::filled(1 << 20, 'x');
    names.push_back({});
    Bytes symbols;
    for (int i = 0; i < 100'000; ++i) {
        append(symbols, Elf64_Sym{.st_name = 1,
                                  .st_info = ELF64_ST_INFO(STB_GLOBAL, STT_FUNC),
                                  .st_other = 0,
                                  .st_shndx = 1,
                                  .st_value = kCode,
                                  .st_size = 1});
    }
    builder.add_symbols(symbols, names);
    builder.add({.name = std::string(1000, 'y'), .bytes = {}});
    const Bytes file = builder.build();
    const modules::ElfSections sections(file);
    const modules::SymbolTable table(sections, SHT_SYMTAB);
    CHECK(table.size() <= 9);
    for (const modules::ElfSection& section : sections.all()) CHECK(section.name.size() < 256);
}

}  // namespace
}  // namespace pystack::unwind
