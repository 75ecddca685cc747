#include "modules/jit_file.h"

#include <elf.h>

#include <algorithm>
#include <cstring>
#include <span>
#include <string_view>

#include "base/byte_reader.h"
#include "base/checked.h"
#include "modules/elf_sections.h"

namespace pystack::modules {

namespace {

/// Compilers at run time make a file for each function or module that they compile.
constexpr std::uint64_t kMaxFile = std::uint64_t{64} << 20;
constexpr std::uint64_t kMaxSections = 4096;
constexpr std::uint64_t kMaxLoaded = std::uint64_t{64} << 20;
constexpr std::uint64_t kUserSpaceEnd = std::uint64_t{1} << 47;

bool is_header(const Elf64_Ehdr& header) {
    return std::memcmp(header.e_ident, ELFMAG, SELFMAG) == 0 &&
           header.e_ident[EI_CLASS] == ELFCLASS64 && header.e_machine == elf::kSupportedMachine &&
           header.e_shentsize == sizeof(Elf64_Shdr) && header.e_shnum > 0 &&
           header.e_shnum <= kMaxSections;
}

bool is_loaded(const Elf64_Shdr& section) {
    const auto end = checked_add(section.sh_addr, section.sh_size);
    return (section.sh_flags & SHF_ALLOC) != 0 && section.sh_addr != 0 && section.sh_size != 0 &&
           end && *end <= kUserSpaceEnd;
}

/// Makes of a file that a compiler has put into memory one whose contents are as they were loaded:
/// what it has of its sections are the bytes from before that (gdb's JIT interface; LLVM's
/// RuntimeDyld writes nothing but sh_addr into it).
class Linker {
  public:
    Linker(const memory::MemoryReader& memory, std::vector<std::byte>& file,
           std::vector<Elf64_Shdr>& sections)
        : memory_(memory),
          file_(file),
          sections_(sections),
          is_relocatable_(value_at<Elf64_Ehdr>(file, 0)->e_type == ET_REL) {}

    std::vector<elf::LoadSegment> run() {
        const std::uint64_t file_size = file_.size();
        std::vector<elf::LoadSegment> segments;
        std::uint64_t end = file_size;
        for (Elf64_Shdr& section : sections_) {
            if (is_loaded(section) && section.sh_size <= kMaxLoaded - (end - file_size)) {
                segments.push_back(append(section, end));
                end = file_.size();
            } else if ((section.sh_flags & SHF_ALLOC) != 0) {
                section.sh_type = SHT_NULL;  // Not loaded: its bytes are those of no address.
            }
        }
        if (is_relocatable_) {
            for (const Elf64_Shdr& section : sections_) {
                if (section.sh_type == SHT_SYMTAB) place_symbols(section);
            }
            for (const Elf64_Shdr& section : sections_) {
                if (section.sh_type == SHT_RELA || section.sh_type == SHT_REL) relocate(section);
            }
        }
        return segments;
    }

  private:
    elf::LoadSegment append(Elf64_Shdr& section, std::uint64_t offset) {
        file_.resize(offset + section.sh_size);
        memory_.read_up_to({section.sh_addr}, std::span(file_).subspan(offset));
        section.sh_offset = offset;
        if (section.sh_type == SHT_NOBITS) section.sh_type = SHT_PROGBITS;
        return {.address = section.sh_addr,
                .memory_size = section.sh_size,
                .file_size = section.sh_size,
                .offset = {offset},
                .writable = (section.sh_flags & SHF_WRITE) != 0,
                .executable = (section.sh_flags & SHF_EXECINSTR) != 0};
    }

    std::span<std::byte> bytes_of(const Elf64_Shdr& section) {
        if (section.sh_type == SHT_NOBITS ||
            part(file_, section.sh_offset, section.sh_size).empty()) {
            return {};
        }
        return std::span(file_).subspan(section.sh_offset, section.sh_size);
    }

    /// Symbols count from the beginning of their sections.
    void place_symbols(const Elf64_Shdr& table) {
        const auto bytes = bytes_of(table);
        for (std::size_t at = 0; at + sizeof(Elf64_Sym) <= bytes.size(); at += sizeof(Elf64_Sym)) {
            Elf64_Sym symbol;
            std::memcpy(&symbol, bytes.data() + at, sizeof symbol);
            if (symbol.st_shndx == SHN_UNDEF || symbol.st_shndx >= sections_.size()) continue;
            const Elf64_Shdr& section = sections_[symbol.st_shndx];
            if ((section.sh_flags & SHF_ALLOC) == 0) continue;
            symbol.st_value += section.sh_addr;
            if (!is_loaded(section)) symbol.st_shndx = SHN_UNDEF;
            std::memcpy(bytes.data() + at, &symbol, sizeof symbol);
        }
    }

    /// Of debug information, which nobody has loaded. What cannot be relocated is not used.
    void relocate(const Elf64_Shdr& table) {
        if (table.sh_info >= sections_.size()) return;
        Elf64_Shdr& section = sections_[table.sh_info];
        if ((section.sh_flags & SHF_ALLOC) != 0) return;
        const bool is_done =
            table.sh_type == SHT_RELA && (section.sh_flags & SHF_COMPRESSED) == 0 &&
            table.sh_link < sections_.size() &&
            apply(bytes_of(table), bytes_of(sections_[table.sh_link]), bytes_of(section));
        if (!is_done) section.sh_type = SHT_NULL;
    }

    static bool apply(std::span<const std::byte> table, std::span<const std::byte> symbols,
                      std::span<std::byte> bytes) {
        for (std::size_t at = 0; at + sizeof(Elf64_Rela) <= table.size();
             at += sizeof(Elf64_Rela)) {
            const auto one = *value_at<Elf64_Rela>(table, at);
            const auto symbol =
                value_at<Elf64_Sym>(symbols, ELF64_R_SYM(one.r_info) * sizeof(Elf64_Sym));
            const auto type = ELF64_R_TYPE(one.r_info);
            if (!symbol || (type != R_X86_64_64 && type != R_X86_64_32)) return false;
            const std::uint64_t value = symbol->st_value + static_cast<std::uint64_t>(one.r_addend);
            const std::size_t size = type == R_X86_64_64 ? sizeof value : sizeof(std::uint32_t);
            if (part(bytes, one.r_offset, size).empty()) return false;
            std::memcpy(bytes.data() + one.r_offset, &value, size);
        }
        return true;
    }

    const memory::MemoryReader& memory_;
    std::vector<std::byte>& file_;
    std::vector<Elf64_Shdr>& sections_;
    const bool is_relocatable_;
};

std::vector<Elf64_Shdr> sections_in(std::span<const std::byte> table) {
    std::vector<Elf64_Shdr> sections(table.size() / sizeof(Elf64_Shdr));
    if (!sections.empty()) std::memcpy(sections.data(), table.data(), table.size());
    return sections;
}

std::vector<RemoteRange> code_in(std::span<const Elf64_Shdr> sections) {
    std::vector<RemoteRange> ranges;
    for (const Elf64_Shdr& section : sections) {
        if ((section.sh_flags & SHF_EXECINSTR) != 0 && is_loaded(section))
            ranges.push_back({{section.sh_addr}, {section.sh_addr + section.sh_size}});
    }
    return ranges;
}

}  // namespace

std::optional<JitFile> find_jit_code(const memory::MemoryReader& memory, RemoteRange file) {
    if (file.size() < sizeof(Elf64_Ehdr) || file.size() > kMaxFile) return std::nullopt;
    const auto header = memory.read_value<Elf64_Ehdr>(file.begin);
    if (!header || !is_header(*header)) return std::nullopt;
    const std::uint64_t size = header->e_shnum * sizeof(Elf64_Shdr);
    if (header->e_shoff > file.size() || file.size() - header->e_shoff < size) return std::nullopt;
    const auto table = memory.read_bytes(file.begin + header->e_shoff, size);
    if (!table) return std::nullopt;
    return JitFile{.file = file, .code = code_in(sections_in(*table))};
}

std::shared_ptr<const CodeModule> load_jit_file(const memory::MemoryReader& memory,
                                                const JitFile& jit, WorkLimits& limits) {
    if (jit.file.size() > kMaxFile || !limits.charge_bytes(jit.file.size())) return nullptr;
    auto bytes = memory.read_bytes(jit.file.begin, jit.file.size());
    const auto header = bytes ? value_at<Elf64_Ehdr>(*bytes, 0) : std::nullopt;
    if (!header || !is_header(*header)) return nullptr;
    const ByteSpan table = table_at<Elf64_Shdr>(*bytes, header->e_shoff, header->e_shnum);
    std::vector<Elf64_Shdr> sections = sections_in(table);
    const auto code = code_in(sections);
    const bool is_same = std::ranges::all_of(jit.code, [&code](const RemoteRange& range) {
        return std::ranges::find(code, range) != code.end();
    });
    if (!is_same) return nullptr;
    std::uint64_t loaded = 0;
    for (const Elf64_Shdr& section : sections) {
        if (is_loaded(section)) loaded += std::min(section.sh_size, kMaxLoaded);
    }
    if (sections.empty() || !limits.charge_bytes(std::min(loaded, kMaxLoaded))) return nullptr;
    auto segments = Linker(memory, *bytes, sections).run();
    std::memcpy(bytes->data() + header->e_shoff, sections.data(),
                sections.size() * sizeof(Elf64_Shdr));
    // What the loader of programs would look at.
    Elf64_Ehdr linked = *header;
    linked.e_phnum = 0;
    std::memcpy(bytes->data(), &linked, sizeof linked);
    return CodeModule::from_bytes(*std::move(bytes), std::move(segments), kJitPath);
}

}  // namespace pystack::modules
