#include "elf/elf_image.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/checked.h"

// The tables are read with <elf.h> and not through libelf: a libelf handle fills its caches on the
// first questions, so it may not be shared between threads, and the few tables needed here are
// plain arrays.

namespace pystack::elf {
namespace {

using Bytes = std::span<const std::byte>;

// Far above anything real (a core has one program header per mapping, and those are limited to some
// 65,000 by default; the biggest executables have a few million symbols). They bound the work, not
// memory.
constexpr std::uint64_t kMaxProgramHeaders = 1 << 20;
constexpr std::uint64_t kMaxSections = 1 << 20;
constexpr std::uint64_t kMaxSymbols = 1 << 23;
constexpr std::uint64_t kMaxDynamicEntries = 1 << 12;
constexpr std::uint64_t kMaxBuildIdSize = 64;
constexpr int kMaxNotes = 1 << 10;

/// `size` bytes at `offset`; empty when they are not all there.
Bytes part(Bytes bytes, std::uint64_t offset, std::uint64_t size) {
    if (offset > bytes.size() || bytes.size() - offset < size) return {};
    return bytes.subspan(offset, size);
}

/// By memcpy, because nothing in an untrusted file is aligned for certain.
template <class T>
std::optional<T> value_at(Bytes bytes, std::uint64_t offset) {
    const Bytes field = part(bytes, offset, sizeof(T));
    if (field.empty()) return std::nullopt;
    T value;
    std::memcpy(&value, field.data(), sizeof(T));
    return value;
}

/// The array of T at `offset`; empty when the file ends within it.
template <class T>
Bytes table_at(Bytes bytes, std::uint64_t offset, std::uint64_t count) {
    const auto size = checked_multiply(count, sizeof(T));
    return size ? part(bytes, offset, *size) : Bytes{};
}

/// Only strings that end inside the table are equal to anything.
bool string_equals(Bytes strings, std::uint64_t offset, std::string_view wanted) {
    if (offset >= strings.size() || strings.size() - offset <= wanted.size()) return false;
    const std::byte* text = strings.data() + offset;
    return std::memcmp(text, wanted.data(), wanted.size()) == 0 &&
           text[wanted.size()] == std::byte{0};
}

struct SymbolTable {
    Bytes symbols;  // Elf64_Sym each; a trailing part of one is ignored.
    Bytes names;
};

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

/// Fills the answers that are still absent.
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
            if (!string_equals(table.names, symbol.st_name, candidate.name)) continue;
            if (!has_address(symbol)) continue;
            const bool local = ELF64_ST_BIND(symbol.st_info) == STB_LOCAL;
            if (local && candidate.found_local) continue;
            answers[candidate.index] = to_symbol(symbol, candidate.name);
            candidate.found_local = true;
            if (!local) wanted.erase(wanted.begin() + static_cast<std::ptrdiff_t>(w--));
        }
    }
}

/// How many symbols a DT_GNU_HASH table covers: the format does not say, so the last chain is
/// followed to its end. Symbols before the first hashed one are undefined ones.
std::uint64_t count_by_gnu_hash(Bytes table) {
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

std::uint64_t align_up(std::uint64_t value, std::uint64_t alignment) {
    return (value + alignment - 1) / alignment * alignment;
}

std::string to_hex(Bytes bytes) {
    constexpr std::string_view kDigits = "0123456789abcdef";
    std::string text;
    text.reserve(bytes.size() * 2);
    for (const std::byte byte : bytes) {
        text += kDigits[std::to_integer<unsigned>(byte) >> 4];
        text += kDigits[std::to_integer<unsigned>(byte) & 15];
    }
    return text;
}

/// Notes are padded to 4 bytes even in 64-bit files, unless the segment asks for 8.
std::string find_build_id(Bytes notes, std::uint64_t segment_alignment) {
    const std::uint64_t alignment = segment_alignment == 8 ? 8 : 4;
    std::uint64_t offset = 0;
    for (int i = 0; i < kMaxNotes; ++i) {
        const auto note = value_at<Elf64_Nhdr>(notes, offset);
        if (!note) return {};
        const std::uint64_t name = offset + sizeof(Elf64_Nhdr);
        const std::uint64_t description = align_up(name + note->n_namesz, alignment);
        if (note->n_type == NT_GNU_BUILD_ID && note->n_namesz == sizeof ELF_NOTE_GNU &&
            note->n_descsz <= kMaxBuildIdSize && string_equals(notes, name, ELF_NOTE_GNU)) {
            return to_hex(part(notes, description, note->n_descsz));
        }
        offset = align_up(description + note->n_descsz, alignment);
    }
    return {};
}

Error missing(const std::string& path, const char* why) {
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
Result<void> check_header(const std::string& path, Bytes header) {
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

class FileDescriptor {
  public:
    explicit FileDescriptor(int fd) : fd_(fd) {}
    ~FileDescriptor() {
        if (fd_ >= 0) ::close(fd_);
    }
    FileDescriptor(const FileDescriptor&) = delete;
    FileDescriptor& operator=(const FileDescriptor&) = delete;
    int get() const { return fd_; }

  private:
    int fd_;
};

}  // namespace

struct ElfImage::State {
    Bytes bytes;
    std::vector<LoadSegment> load_segments;
    Bytes dynamic;   // Elf64_Dyn each.
    Bytes sections;  // Elf64_Shdr each; empty when the file has none or ends before them.
    Bytes section_names;
    std::string build_id;

    State() = default;
    State(const State&) = delete;
    State& operator=(const State&) = delete;
    ~State() {
        if (!bytes.empty()) {
            ::munmap(const_cast<std::byte*>(bytes.data()), bytes.size());
        }
    }

    std::uint64_t section_count() const { return sections.size() / sizeof(Elf64_Shdr); }
    /// `index` is within section_count().
    Elf64_Shdr section_at(std::uint64_t index) const {
        return *value_at<Elf64_Shdr>(sections, index * sizeof(Elf64_Shdr));
    }
    Bytes section_bytes(const Elf64_Shdr& header) const {
        return header.sh_type == SHT_NOBITS ? Bytes{}
                                            : part(bytes, header.sh_offset, header.sh_size);
    }

    Result<void> read_program_headers(const std::string& path, const Elf64_Ehdr& header);
    void read_section_headers(const Elf64_Ehdr& header);
    void read_build_id_from_sections();
    SymbolTable section_symbols(std::uint32_t type) const;
    SymbolTable dynamic_symbols() const;
    Bytes bytes_from(std::uint64_t address) const;
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
    const Bytes table = table_at<Elf64_Phdr>(bytes, header.e_phoff, count);
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
    const Bytes symbol_bytes = bytes_from(symbols);
    const Bytes name_bytes = bytes_from(names);
    return {symbol_bytes.first(std::min(symbol_bytes.size(), count * sizeof(Elf64_Sym))),
            name_bytes.first(std::min(name_bytes.size(), names_size))};
}

Bytes ElfImage::State::bytes_from(std::uint64_t address) const {
    for (const LoadSegment& segment : load_segments) {
        if (address < segment.address || address - segment.address >= segment.file_size) continue;
        const Bytes loaded = part(bytes, segment.offset.value, segment.file_size);
        if (loaded.empty()) continue;
        return loaded.subspan(address - segment.address);
    }
    return {};
}

ElfImage::ElfImage() : state_(std::make_unique<State>()) {}
ElfImage::~ElfImage() = default;

Result<std::shared_ptr<const ElfImage>> ElfImage::open(const std::string& path) {
    // Asked before opening, because opening a device can do something; and again afterwards,
    // because the name may mean another file by then. O_NONBLOCK: a pipe without a writer would
    // wait for one.
    struct stat status;
    if (::stat(path.c_str(), &status) != 0) return fail(missing(path, std::strerror(errno)));
    if (!S_ISREG(status.st_mode)) return fail(missing(path, "not a regular file"));
    const FileDescriptor file(::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
    if (file.get() < 0) return fail(missing(path, std::strerror(errno)));
    if (::fstat(file.get(), &status) != 0) return fail(missing(path, std::strerror(errno)));
    if (!S_ISREG(status.st_mode)) return fail(missing(path, "not a regular file"));

    // Looked at before mapping: most files that a process maps besides its libraries are data.
    std::byte start[sizeof(Elf64_Ehdr)];
    const ssize_t got = ::pread(file.get(), start, sizeof start, 0);
    if (got < 0) return fail(missing(path, std::strerror(errno)));
    PYSTACK_CHECK(check_header(path, Bytes(start).first(static_cast<std::size_t>(got))));

    const auto size = static_cast<std::size_t>(status.st_size);
    if (size < sizeof(Elf64_Ehdr)) return fail(not_elf(path, "ELF header"));
    void* mapped = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.get(), 0);
    if (mapped == MAP_FAILED) return fail(missing(path, std::strerror(errno)));

    std::shared_ptr<ElfImage> image(new ElfImage());
    State& state = *image->state_;
    state.bytes = Bytes(static_cast<const std::byte*>(mapped), size);
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
        if (!string_equals(state_->section_names, header.sh_name, name)) continue;
        return Section{.name = std::string(name),
                       .address = header.sh_addr,
                       .size = header.sh_size,
                       .offset = {header.sh_offset},
                       .has_bytes = header.sh_type != SHT_NOBITS};
    }
    return std::nullopt;
}

std::span<const std::byte> ElfImage::section_bytes(const Section& section) const {
    return section.has_bytes ? part(state_->bytes, section.offset.value, section.size) : Bytes{};
}

std::optional<Symbol> ElfImage::symbol(std::string_view name) const {
    return std::move(symbols(std::span(&name, 1)).front());
}

std::vector<std::optional<Symbol>> ElfImage::symbols(
    std::span<const std::string_view> names) const {
    std::vector<std::optional<Symbol>> answers(names.size());
    look_up(state_->section_symbols(SHT_SYMTAB), names, answers);
    if (std::ranges::all_of(answers, &std::optional<Symbol>::has_value)) return answers;
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

}  // namespace pystack::elf
