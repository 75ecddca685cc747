#include "target/module_identity.h"

#include <elf.h>

#include <algorithm>
#include <cstring>
#include <span>
#include <utility>
#include <vector>

#include "base/byte_reader.h"
#include "elf/build_id.h"

namespace pystack::target {

namespace {

constexpr std::uint16_t kMaxProgramHeaders = 64;
constexpr std::uint64_t kMaxNoteBytes = 64 << 10;

}  // namespace

ModuleIdentity identify(const memory::MemoryReader& core_memory, const elf::Module& module) {
    ModuleIdentity identity;
    const elf::Mapping& first = module.mappings.front();
    if (first.offset.value != 0) return identity;
    const RemoteAddr base = first.range.begin;
    const auto header = core_memory.read_value<Elf64_Ehdr>(base);
    if (!header) return identity;
    if (std::memcmp(header->e_ident, ELFMAG, SELFMAG) != 0 ||
        header->e_ident[EI_CLASS] != ELFCLASS64 || header->e_phentsize != sizeof(Elf64_Phdr) ||
        header->e_phnum > kMaxProgramHeaders || header->e_phoff > first.range.size()) {
        const auto* const bytes = reinterpret_cast<const std::byte*>(&*header);
        identity.headers.assign(bytes, bytes + sizeof *header);
        return identity;
    }
    identity.is_elf = true;
    std::vector<Elf64_Phdr> entries(header->e_phnum);
    const auto entry_bytes = std::as_writable_bytes(std::span(entries));
    if (!core_memory.read(base + header->e_phoff, entry_bytes)) return identity;
    const auto* const bytes = reinterpret_cast<const std::byte*>(&*header);
    identity.headers.assign(bytes, bytes + sizeof *header);
    identity.headers.insert(identity.headers.end(), entry_bytes.begin(), entry_bytes.end());

    bool all_read = true;
    for (const Elf64_Phdr& entry : entries) {
        if (entry.p_type != PT_NOTE) continue;
        // Offsets in the file are distances from the first mapping only within that mapping; notes
        // lie in the first page or at the very end, and then they are not in the core.
        const std::uint64_t size = std::min(entry.p_filesz, kMaxNoteBytes);
        if (entry.p_offset > first.range.size() || size > first.range.size() - entry.p_offset) {
            all_read = false;
            continue;
        }
        const auto notes = core_memory.read_bytes(base + entry.p_offset, size);
        if (!notes) {
            all_read = false;
            continue;
        }
        if (auto id = elf::find_build_id(*notes, entry.p_align); !id.empty()) {
            identity.build_id = std::move(id);
            return identity;
        }
    }
    if (all_read) identity.build_id = "";
    return identity;
}

Match match(const ModuleIdentity& identity, const elf::ElfImage& image) {
    if (identity.build_id && !identity.build_id->empty()) {
        return *identity.build_id == image.build_id() ? Match::kSame : Match::kDifferent;
    }
    if (identity.build_id && !image.build_id().empty()) return Match::kDifferent;
    if (identity.headers.empty()) return Match::kLikely;
    // Without a build id the headers are compared: they hold the sizes of all segments. The section
    // headers' place and number is left out: strip changes it, and nothing that was mapped.
    const auto file = image.bytes();
    const auto core_header = value_at<Elf64_Ehdr>(identity.headers, 0);
    const auto file_header = value_at<Elf64_Ehdr>(file, 0);
    if (!core_header || !file_header || core_header->e_phnum != file_header->e_phnum ||
        core_header->e_entry != file_header->e_entry || file_header->e_phoff > file.size()) {
        return Match::kDifferent;
    }
    const auto core_entries = std::span(identity.headers).subspan(sizeof(Elf64_Ehdr));
    const auto file_entries = file.subspan(file_header->e_phoff);
    const bool equal = core_entries.size() <= file_entries.size() &&
                       std::equal(core_entries.begin(), core_entries.end(), file_entries.begin());
    return equal ? Match::kLikely : Match::kDifferent;
}

}  // namespace pystack::target
