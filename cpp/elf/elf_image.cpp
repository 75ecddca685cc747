#include "elf/elf_image.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/byte_reader.h"
#include "elf/build_id.h"
#include "elf/mapped_file.h"
#include "files/regular_file.h"

namespace pystack::elf {
namespace {

// Far above anything real (a core has one program header per mapping, and those are limited to some
// 65,000 by default). They bound the work, not memory.
constexpr std::uint64_t kMaxProgramHeaders = 1 << 20;
constexpr std::uint64_t kMaxSections = 1 << 20;
constexpr std::uint64_t kMaxDynamicEntries = 1 << 12;

Error missing(const std::string& path, const std::string& why) {
    return Error{.code = ErrorCode::kMissingBinary, .what = "file", .detail = path + ": " + why};
}

Error not_elf(const std::string& path, const char* what) {
    return Error{.code = ErrorCode::kCorruptData, .what = what, .detail = path};
}

Error unsupported(const std::string& path, const std::string& why) {
    return Error{
        .code = ErrorCode::kUnsupportedTarget, .what = "ELF file", .detail = path + ": " + why};
}

/// Says whether the first bytes are those of a file we read; `header` has as many as the file.
Result<void> check_header(const std::string& path, ByteSpan header) {
    if (header.size() < EI_NIDENT || std::memcmp(header.data(), ELFMAG, SELFMAG) != 0) {
        return fail(not_elf(path, "ELF header"));
    }
    const auto ident = [&](int index) {
        return std::to_integer<int>(header[static_cast<std::size_t>(index)]);
    };
    if (ident(EI_CLASS) == ELFCLASS32) return fail(unsupported(path, "a 32-bit ELF file"));
    if (ident(EI_DATA) == ELFDATA2MSB) return fail(unsupported(path, "a big-endian ELF file"));
    const auto whole = value_at<Elf64_Ehdr>(header, 0);
    if (!whole || ident(EI_CLASS) != ELFCLASS64 || ident(EI_DATA) != ELFDATA2LSB) {
        return fail(not_elf(path, "ELF header"));
    }
    if (whole->e_machine != kSupportedMachine) {
        return fail(unsupported(path, "an ELF file for another architecture (machine " +
                                          std::to_string(whole->e_machine) + ")"));
    }
    return {};
}

}  // namespace

struct ElfImage::State {
    MappedFile file;
    ByteSpan bytes;  // Of `file`.
    std::vector<LoadSegment> load_segments;
    ByteSpan dynamic;   // Elf64_Dyn each.
    ByteSpan sections;  // Elf64_Shdr each; empty when the file has none or ends before them.
    ByteSpan section_names;
    std::string build_id;

    std::uint64_t section_count() const { return sections.size() / sizeof(Elf64_Shdr); }
    /// `index` is within section_count().
    Elf64_Shdr section_at(std::uint64_t index) const {
        return *value_at<Elf64_Shdr>(sections, index * sizeof(Elf64_Shdr));
    }
    ByteSpan section_bytes(const Elf64_Shdr& header) const {
        return header.sh_type == SHT_NOBITS ? ByteSpan{}
                                            : part(bytes, header.sh_offset, header.sh_size);
    }

    Result<void> read_program_headers(const std::string& path, const Elf64_Ehdr& header);
    void read_section_headers(const Elf64_Ehdr& header);
    void read_build_id_from_sections();
    SymbolTable section_symbols(std::uint32_t type) const;
    SymbolTable dynamic_symbols() const;
    ByteSpan bytes_from(std::uint64_t address) const;
};

Result<void> ElfImage::State::read_program_headers(const std::string& path,
                                                   const Elf64_Ehdr& header) {
    std::uint64_t count = header.e_phnum;
    if (count == PN_XNUM) {  // Cores with more mappings than fit: the count is in section 0.
        const auto first = value_at<Elf64_Shdr>(bytes, header.e_shoff);
        if (!first) return fail(not_elf(path, "ELF program headers"));
        count = first->sh_info;
    }
    if (count == 0) return {};
    const ByteSpan table = table_at<Elf64_Phdr>(bytes, header.e_phoff, count);
    if (header.e_phentsize != sizeof(Elf64_Phdr) || count > kMaxProgramHeaders || table.empty()) {
        return fail(not_elf(path, "ELF program headers"));
    }
    for (std::uint64_t i = 0; i < count; ++i) {
        const auto segment = *value_at<Elf64_Phdr>(table, i * sizeof(Elf64_Phdr));
        if (segment.p_type == PT_LOAD) {
            load_segments.push_back({.address = segment.p_vaddr,
                                     .memory_size = segment.p_memsz,
                                     .file_size = segment.p_filesz,
                                     .offset = {segment.p_offset},
                                     .writable = (segment.p_flags & PF_W) != 0,
                                     .executable = (segment.p_flags & PF_X) != 0});
        } else if (segment.p_type == PT_DYNAMIC) {
            dynamic = part(bytes, segment.p_offset, segment.p_filesz);
        } else if (segment.p_type == PT_NOTE && build_id.empty()) {
            build_id =
                find_build_id(part(bytes, segment.p_offset, segment.p_filesz), segment.p_align);
        }
    }
    return {};
}

/// A table that does not fit is treated as absent: the dynamic segment still answers for the
/// symbols.
void ElfImage::State::read_section_headers(const Elf64_Ehdr& header) {
    if (header.e_shoff == 0 || header.e_shentsize != sizeof(Elf64_Shdr)) return;
    const auto first = value_at<Elf64_Shdr>(bytes, header.e_shoff);
    if (!first) return;
    // Numbers that do not fit the header's 16 bits are in section 0.
    const std::uint64_t count = header.e_shnum != 0 ? header.e_shnum : first->sh_size;
    const std::uint64_t names =
        header.e_shstrndx != SHN_XINDEX ? header.e_shstrndx : first->sh_link;
    if (count > kMaxSections) return;
    sections = table_at<Elf64_Shdr>(bytes, header.e_shoff, count);
    if (names < section_count()) section_names = section_bytes(section_at(names));
}

void ElfImage::State::read_build_id_from_sections() {
    for (std::uint64_t i = 0; i < section_count() && build_id.empty(); ++i) {
        const Elf64_Shdr header = section_at(i);
        if (header.sh_type != SHT_NOTE) continue;
        build_id = find_build_id(section_bytes(header), header.sh_addralign);
    }
}

SymbolTable ElfImage::State::section_symbols(std::uint32_t type) const {
    for (std::uint64_t i = 0; i < section_count(); ++i) {
        const Elf64_Shdr header = section_at(i);
        if (header.sh_type != type) continue;
        if (header.sh_entsize != sizeof(Elf64_Sym) || header.sh_link >= section_count()) continue;
        return {section_bytes(header), section_bytes(section_at(header.sh_link))};
    }
    return {};
}

SymbolTable ElfImage::State::dynamic_symbols() const {
    std::uint64_t symbols = 0;
    std::uint64_t names = 0;
    std::uint64_t names_size = 0;
    std::uint64_t hash = 0;
    std::uint64_t gnu_hash = 0;
    const std::uint64_t entries =
        std::min<std::uint64_t>(dynamic.size() / sizeof(Elf64_Dyn), kMaxDynamicEntries);
    for (std::uint64_t i = 0; i < entries; ++i) {
        const auto entry = *value_at<Elf64_Dyn>(dynamic, i * sizeof(Elf64_Dyn));
        if (entry.d_tag == DT_NULL) break;
        switch (entry.d_tag) {
            case DT_SYMTAB:
                symbols = entry.d_un.d_ptr;
                break;
            case DT_STRTAB:
                names = entry.d_un.d_ptr;
                break;
            case DT_STRSZ:
                names_size = entry.d_un.d_val;
                break;
            case DT_HASH:
                hash = entry.d_un.d_ptr;
                break;
            case DT_GNU_HASH:
                gnu_hash = entry.d_un.d_ptr;
                break;
            default:
                break;
        }
    }
    std::uint64_t count = 0;
    if (hash != 0) {
        // Two words: the number of buckets, and the number of chains, which is that of the symbols.
        count = value_at<std::uint32_t>(bytes_from(hash), 4).value_or(0);
    } else if (gnu_hash != 0) {
        count = count_by_gnu_hash(bytes_from(gnu_hash));
    }
    const ByteSpan symbol_bytes = bytes_from(symbols);
    const ByteSpan name_bytes = bytes_from(names);
    return {symbol_bytes.first(std::min(symbol_bytes.size(), count * sizeof(Elf64_Sym))),
            name_bytes.first(std::min(name_bytes.size(), names_size))};
}

ByteSpan ElfImage::State::bytes_from(std::uint64_t address) const {
    for (const LoadSegment& segment : load_segments) {
        if (address < segment.address || address - segment.address >= segment.file_size) continue;
        const ByteSpan loaded = part(bytes, segment.offset.value, segment.file_size);
        if (loaded.empty()) continue;
        return loaded.subspan(address - segment.address);
    }
    return {};
}

ElfImage::ElfImage() : state_(std::make_unique<State>()) {}
ElfImage::~ElfImage() = default;

Result<std::shared_ptr<const ElfImage>> ElfImage::open(const std::string& path) {
    const auto file = files::open_named(path);
    if (!file) return fail(missing(path, file.error().detail));
    return read(*file, path);
}

Result<std::shared_ptr<const ElfImage>> ElfImage::read(const files::FileDescriptor& file,
                                                       const std::string& path) {
    struct stat status;
    if (::fstat(file.get(), &status) != 0) return fail(missing(path, std::strerror(errno)));

    // Looked at before mapping: most files that a process maps besides its libraries are data.
    std::byte start[sizeof(Elf64_Ehdr)];
    const ssize_t got = ::pread(file.get(), start, sizeof start, 0);
    if (got < 0) return fail(missing(path, std::strerror(errno)));
    PYSTACK_CHECK(check_header(path, ByteSpan(start).first(static_cast<std::size_t>(got))));

    const auto size = static_cast<std::size_t>(status.st_size);
    if (size < sizeof(Elf64_Ehdr)) return fail(not_elf(path, "ELF header"));
    auto mapped = MappedFile::map(file.get(), size);
    if (!mapped) return fail(missing(path, std::strerror(errno)));

    std::shared_ptr<ElfImage> image(new ElfImage());
    State& state = *image->state_;
    state.file = *std::move(mapped);
    state.bytes = state.file.bytes();
    Elf64_Ehdr header;
    std::memcpy(&header, start, sizeof header);
    PYSTACK_CHECK(state.read_program_headers(path, header));
    state.read_section_headers(header);
    if (state.build_id.empty()) state.read_build_id_from_sections();
    return image;
}

std::span<const LoadSegment> ElfImage::load_segments() const {
    return state_->load_segments;
}

std::optional<Section> ElfImage::section(std::string_view name) const {
    for (std::uint64_t i = 0; i < state_->section_count(); ++i) {
        const Elf64_Shdr header = state_->section_at(i);
        if (header.sh_type == SHT_NULL) continue;
        if (!text_equals(state_->section_names, header.sh_name, name)) continue;
        return Section{.name = std::string(name),
                       .address = header.sh_addr,
                       .size = header.sh_size,
                       .offset = {header.sh_offset},
                       .has_bytes = header.sh_type != SHT_NOBITS};
    }
    return std::nullopt;
}

std::span<const std::byte> ElfImage::section_bytes(const Section& section) const {
    return section.has_bytes ? part(state_->bytes, section.offset.value, section.size) : ByteSpan{};
}

std::optional<Symbol> ElfImage::symbol(std::string_view name) const {
    return std::move(symbols(std::span(&name, 1)).front());
}

std::vector<std::optional<Symbol>> ElfImage::symbols(
    std::span<const std::string_view> names) const {
    std::vector<std::optional<Symbol>> answers(names.size());
    look_up(state_->section_symbols(SHT_SYMTAB), names, answers);
    if (std::ranges::all_of(answers, [](const auto& answer) { return answer.has_value(); }))
        return answers;
    SymbolTable dynamic = state_->section_symbols(SHT_DYNSYM);
    if (dynamic.symbols.empty()) dynamic = state_->dynamic_symbols();
    look_up(dynamic, names, answers);
    return answers;
}

std::span<const std::byte> ElfImage::bytes_from(std::uint64_t address) const {
    return state_->bytes_from(address);
}

const std::string& ElfImage::build_id() const {
    return state_->build_id;
}

std::span<const std::byte> ElfImage::bytes() const {
    return state_->bytes;
}

bool ElfImage::is_torn() const {
    return state_->file.is_torn();
}

}  // namespace pystack::elf
