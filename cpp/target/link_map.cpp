#include "target/link_map.h"

#include <elf.h>
#include <link.h>

#include <algorithm>
#include <cstring>
#include <optional>

#include "base/pages.h"

namespace pystack::target {

namespace {

constexpr std::size_t kMaxObjects = 4096;
constexpr std::size_t kMaxDynamicEntries = 1024;
constexpr std::uint64_t kMaxProgramHeaders = 64;
constexpr std::size_t kMaxPathBytes = 4096;

using ProgramHeaders = std::vector<Elf64_Phdr>;

std::optional<std::uint64_t> find_aux(std::span<const elf::AuxEntry> auxv, std::uint64_t key) {
    for (const elf::AuxEntry& entry : auxv) {
        if (entry.key == key) return entry.value;
    }
    return std::nullopt;
}

std::optional<ProgramHeaders> read_headers(const memory::MemoryReader& memory, RemoteAddr address,
                                           std::uint64_t count) {
    ProgramHeaders headers(std::min(count, kMaxProgramHeaders));
    if (!memory.read(address, std::as_writable_bytes(std::span(headers)))) return std::nullopt;
    return headers;
}

/// The headers of a library, whose first segment begins with its ELF header: true of what linkers
/// make.
std::optional<ProgramHeaders> read_library_headers(const memory::MemoryReader& memory,
                                                   RemoteAddr base) {
    const auto header = memory.read_value<Elf64_Ehdr>(base);
    if (!header || std::memcmp(header->e_ident, ELFMAG, SELFMAG) != 0 ||
        header->e_phentsize != sizeof(Elf64_Phdr)) {
        return std::nullopt;
    }
    return read_headers(memory, base + header->e_phoff, header->e_phnum);
}

const Elf64_Phdr* find(const ProgramHeaders& headers, std::uint32_t type) {
    const auto entry = std::find_if(headers.begin(), headers.end(),
                                    [&](const Elf64_Phdr& h) { return h.p_type == type; });
    return entry == headers.end() ? nullptr : &*entry;
}

void add_file(const ProgramHeaders& headers, std::uint64_t bias, const elf::SharedPath& path,
              std::vector<elf::CoreFileMapping>& files) {
    for (const Elf64_Phdr& header : headers) {
        if (header.p_type != PT_LOAD || header.p_filesz == 0) continue;
        const std::uint64_t begin = page_begin(bias + header.p_vaddr);
        const std::uint64_t end = page_end(bias + header.p_vaddr + header.p_filesz);
        if (end <= begin) continue;
        files.push_back(
            {.range = {{begin}, {end}}, .offset = {page_begin(header.p_offset)}, .path = path});
    }
}

/// The head of the list: DT_DEBUG of the main program, which the dynamic linker fills in.
std::optional<RemoteAddr> find_list(const memory::MemoryReader& memory,
                                    const ProgramHeaders& headers, std::uint64_t bias) {
    const Elf64_Phdr* const dynamic = find(headers, PT_DYNAMIC);
    if (dynamic == nullptr) return std::nullopt;
    const std::size_t count =
        std::min<std::uint64_t>(dynamic->p_memsz / sizeof(Elf64_Dyn), kMaxDynamicEntries);
    for (std::size_t i = 0; i < count; ++i) {
        const auto entry = memory.read_value<Elf64_Dyn>(RemoteAddr{bias} + dynamic->p_vaddr +
                                                        i * sizeof(Elf64_Dyn));
        if (!entry || entry->d_tag == DT_NULL) return std::nullopt;
        if (entry->d_tag != DT_DEBUG || entry->d_un.d_ptr == 0) continue;
        const auto first =
            memory.read_pointer(RemoteAddr{entry->d_un.d_ptr} + offsetof(r_debug, r_map));
        if (!first) return std::nullopt;
        return *first;
    }
    return std::nullopt;
}

}  // namespace

std::vector<elf::CoreFileMapping> files_from_link_map(const memory::MemoryReader& memory,
                                                      std::span<const elf::AuxEntry> auxv,
                                                      const std::string& program) {
    std::vector<elf::CoreFileMapping> files;
    const auto address = find_aux(auxv, AT_PHDR);
    const auto count = find_aux(auxv, AT_PHNUM);
    if (!address || !count) return files;
    const auto headers = read_headers(memory, {*address}, *count);
    if (!headers) return files;
    const Elf64_Phdr* const self = find(*headers, PT_PHDR);
    const std::uint64_t bias = self == nullptr ? 0 : *address - self->p_vaddr;
    if (!program.empty()) add_file(*headers, bias, program, files);

    auto object = find_list(memory, *headers, bias);
    for (std::size_t i = 0; i < kMaxObjects && object && *object; ++i) {
        const auto entry = memory.read_value<link_map>(*object);
        if (!entry) break;
        const RemoteAddr name{reinterpret_cast<std::uintptr_t>(entry->l_name)};
        const auto path = memory.read_c_string(name, kMaxPathBytes);
        // The main program and the vdso have no path.
        if (path && path->starts_with('/')) {
            if (const auto library = read_library_headers(memory, {entry->l_addr})) {
                add_file(*library, entry->l_addr, *path, files);
            }
        }
        object = RemoteAddr{reinterpret_cast<std::uintptr_t>(entry->l_next)};
    }
    return files;
}

}  // namespace pystack::target
