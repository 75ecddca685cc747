#include "modules/code_module.h"

#include <elf.h>

#include <algorithm>
#include <cstring>
#include <optional>

#include "base/byte_reader.h"
#include "base/checked.h"
#include "base/pages.h"
#include "elf/build_id.h"

namespace pystack::modules {

namespace {

constexpr std::size_t kMaxProgramHeaders = 64;
/// The libraries that a target may have without their file being there are few; this bounds a
/// hostile header.
constexpr std::uint64_t kMaxCopy = std::uint64_t{64} << 20;

struct MemoryHeaders {
    Elf64_Ehdr elf;
    std::vector<Elf64_Phdr> program;
};

std::optional<MemoryHeaders> read_headers(const memory::MemoryReader& memory, RemoteAddr begin) {
    const auto elf = memory.read_value<Elf64_Ehdr>(begin);
    if (!elf || std::memcmp(elf->e_ident, ELFMAG, SELFMAG) != 0 ||
        elf->e_ident[EI_CLASS] != ELFCLASS64 || elf->e_machine != elf::kSupportedMachine ||
        elf->e_phentsize != sizeof(Elf64_Phdr) || elf->e_phnum == 0 ||
        elf->e_phnum > kMaxProgramHeaders || elf->e_phoff > kMaxCopy) {
        return std::nullopt;
    }
    const auto bytes = memory.read_bytes(begin + elf->e_phoff, elf->e_phnum * sizeof(Elf64_Phdr));
    if (!bytes) return std::nullopt;
    MemoryHeaders headers{*elf, {}};
    for (std::size_t i = 0; i < elf->e_phnum; ++i) {
        headers.program.push_back(*value_at<Elf64_Phdr>(*bytes, i * sizeof(Elf64_Phdr)));
    }
    return headers;
}

}  // namespace

CodeModule::CodeModule(const elf::Module& module)
    : path_(module.path),
      deleted_(module.deleted),
      build_id_(module.image->build_id()),
      bias_(module.bias),
      bytes_(module.image->bytes()),
      segments_(module.image->load_segments().begin(), module.image->load_segments().end()),
      image_(module.image) {}

std::shared_ptr<const CodeModule> CodeModule::from_memory(const memory::MemoryReader& memory,
                                                          RemoteRange range, std::string path,
                                                          WorkLimits* limits) {
    auto headers = read_headers(memory, range.begin);
    if (!headers) return nullptr;
    const auto first =
        std::find_if(headers->program.begin(), headers->program.end(),
                     [](const Elf64_Phdr& header) { return header.p_type == PT_LOAD; });
    if (first == headers->program.end()) return nullptr;
    const std::uint64_t base = page_begin(first->p_vaddr);
    if (first->p_offset / kPageSize != 0)
        return nullptr;  // The headers are not part of the first segment.

    const std::shared_ptr<CodeModule> module(new CodeModule());
    std::uint64_t size = 0;
    bool as_in_file = true;
    for (const Elf64_Phdr& header : headers->program) {
        if (header.p_type != PT_LOAD || (header.p_flags & PF_W) != 0) continue;
        const auto end = checked_add(header.p_vaddr, header.p_filesz);
        if (header.p_vaddr < base || !end || *end - base > kMaxCopy) return nullptr;
        size = std::max(size, *end - base);
        as_in_file = as_in_file && header.p_offset == header.p_vaddr - base;
    }
    // The kernel maps the whole file of the vDSO, with section headers behind the last segment.
    const std::uint64_t section_headers = std::uint64_t{headers->elf.e_shnum} * sizeof(Elf64_Shdr);
    const auto end_of_headers = checked_add(headers->elf.e_shoff, section_headers);
    const bool has_sections = as_in_file && end_of_headers && *end_of_headers <= range.size();
    if (has_sections) size = std::max(size, *end_of_headers);
    if (size > range.size() || size > kMaxCopy || size < sizeof(Elf64_Ehdr)) return nullptr;
    if (limits != nullptr && !limits->charge_bytes(size)) return nullptr;
    module->copy_.resize(static_cast<std::size_t>(size));
    const std::span<std::byte> copy(module->copy_);
    if (has_sections) memory.read_up_to(range.begin, copy);
    for (const Elf64_Phdr& header : headers->program) {
        if (header.p_type != PT_LOAD || (header.p_flags & PF_W) != 0) continue;
        memory.read_up_to(range.begin + (header.p_vaddr - base),
                          copy.subspan(header.p_vaddr - base, header.p_filesz));
        module->segments_.push_back({.address = header.p_vaddr,
                                     .memory_size = header.p_filesz,
                                     .file_size = header.p_filesz,
                                     .offset = {header.p_vaddr - base},
                                     .writable = false,
                                     .executable = (header.p_flags & PF_X) != 0});
    }
    if (headers->elf.e_phoff + headers->program.size() * sizeof(Elf64_Phdr) > copy.size())
        return nullptr;

    // In the copy a byte's offset is its address. Section headers are of use only if that holds in
    // the file too.
    for (Elf64_Phdr& header : headers->program) {
        header.p_offset = header.p_vaddr - base;
        if (header.p_type == PT_NOTE && header.p_offset <= copy.size() &&
            header.p_filesz <= copy.size() - header.p_offset && module->build_id_.empty()) {
            module->build_id_ = elf::find_build_id(copy.subspan(header.p_offset, header.p_filesz));
        }
        if (header.p_type == PT_LOAD && (header.p_flags & PF_W) != 0) header.p_filesz = 0;
    }
    if (!has_sections) {
        headers->elf.e_shoff = 0;
        headers->elf.e_shnum = 0;
        headers->elf.e_shstrndx = 0;
    }
    std::memcpy(copy.data(), &headers->elf, sizeof headers->elf);
    std::memcpy(copy.data() + headers->elf.e_phoff, headers->program.data(),
                headers->program.size() * sizeof(Elf64_Phdr));
    module->path_ = std::move(path);
    module->bias_ = range.begin.value - base;
    module->bytes_ = module->copy_;
    return module;
}

std::shared_ptr<const CodeModule> CodeModule::from_bytes(std::vector<std::byte> bytes,
                                                         std::vector<elf::LoadSegment> segments,
                                                         std::string path) {
    const std::shared_ptr<CodeModule> module(new CodeModule());
    module->path_ = std::move(path);
    module->copy_ = std::move(bytes);
    module->bytes_ = module->copy_;
    module->segments_ = std::move(segments);
    return module;
}

std::span<const std::byte> CodeModule::bytes_at(std::uint64_t file_address) const {
    for (const elf::LoadSegment& segment : segments_) {
        if (file_address < segment.address || file_address - segment.address >= segment.file_size)
            continue;
        if (segment.offset.value > bytes_.size()) continue;
        const auto rest = bytes_.subspan(segment.offset.value);
        const auto size = std::min<std::uint64_t>(rest.size(), segment.file_size);
        const std::uint64_t skipped = file_address - segment.address;
        if (skipped >= size) continue;
        return rest.first(size).subspan(skipped);
    }
    return {};
}

}  // namespace pystack::modules
