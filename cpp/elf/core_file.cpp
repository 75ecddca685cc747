#include "elf/core_file.h"

#include <elf.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <optional>
#include <string_view>

#include "base/checked.h"
#include "files/file_descriptor.h"
#include "files/sole_writer.h"

namespace pystack::elf {

namespace {

/// One mapping each; see kMaxFileMappings in core_notes.cpp.
constexpr std::uint64_t kMaxProgramHeaders = std::uint64_t{1} << 20;

/// About what a segment takes in all lists of segments, regions and mappings.
constexpr std::uint64_t kSegmentBytes = 512;

#if defined(__x86_64__)
constexpr std::uint16_t kMachine = EM_X86_64;
#else
#error "core_file.cpp: only x86-64 so far"
#endif

Error core_error(ErrorCode code, const std::string& path, std::string_view text) {
    return Error{.code = code, .what = "core file", .detail = path + " " + std::string(text)};
}

struct Magic {
    std::string_view bytes;
    std::string_view text;
};

/// Files that are offered by mistake most often. Sizes in the literals: some of them hold zero
/// bytes.
constexpr std::array<Magic, 7> kOtherFiles{{
    {{"\x1f\x8b", 2}, "is compressed with gzip; decompress it first"},
    {{"\x28\xb5\x2f\xfd", 4}, "is compressed with zstd; decompress it first"},
    {{"\x04\x22\x4d\x18", 4}, "is compressed with lz4; decompress it first"},
    {{"\xfd"
      "7zXZ\0",
      6},
     "is compressed with xz; decompress it first"},
    {{"MDMP", 4}, "is a minidump, not an ELF core file"},
    {{"#!", 2}, "is a script, not a core file"},
    {{"\xcf\xfa\xed\xfe", 4}, "is a Mach-O file, not an ELF core file"},
}};

template <class T>
std::optional<T> load(std::span<const std::byte> bytes, std::uint64_t offset) {
    if (offset > bytes.size() || bytes.size() - offset < sizeof(T)) return std::nullopt;
    T value;
    std::memcpy(&value, bytes.data() + offset, sizeof value);
    return value;
}

std::string machine_name(std::uint16_t machine) {
    switch (machine) {
        case EM_386:
            return "a 32-bit x86 machine";
        case EM_X86_64:
            return "x86-64";
        case EM_ARM:
            return "a 32-bit ARM machine";
        case EM_AARCH64:
            return "an aarch64 machine";
        case EM_PPC64:
            return "a ppc64 machine";
        case EM_S390:
            return "an s390 machine";
        case EM_RISCV:
            return "a RISC-V machine";
        default:
            return "an unknown machine (ELF machine " + std::to_string(machine) + ")";
    }
}

/// How many program headers there are. More than 65,534 do not fit into the header: then the
/// section header 0 has the number, which the kernel writes at the very end, where a cut file has
/// lost it.
std::uint64_t count_program_headers(std::span<const std::byte> bytes, const Elf64_Ehdr& header) {
    if (header.e_phnum != PN_XNUM) return header.e_phnum;
    if (const auto section = load<Elf64_Shdr>(bytes, header.e_shoff);
        section && header.e_shoff != 0) {
        return section->sh_info;
    }
    // The notes come first and lie directly behind the headers.
    const auto first = load<Elf64_Phdr>(bytes, header.e_phoff);
    if (first && first->p_type == PT_NOTE && first->p_offset > header.e_phoff) {
        return (first->p_offset - header.e_phoff) / sizeof(Elf64_Phdr);
    }
    return PN_XNUM;
}

}  // namespace

Result<std::shared_ptr<const CoreFile>> CoreFile::open(const std::string& path,
                                                       WorkLimits& limits) {
    const std::shared_ptr<CoreFile> core(new CoreFile(path));
    PYSTACK_CHECK(core->map());
    PYSTACK_CHECK(core->check_header());
    PYSTACK_CHECK(core->read_program_headers(limits));
    const bool has_memory = std::any_of(core->segments_.begin(), core->segments_.end(),
                                        [](const CoreSegment& s) { return s.available > 0; });
    if (!has_memory && core->notes_.threads.empty()) {
        return fail(core_error(ErrorCode::kCoreTruncated, path,
                               "is truncated: it contains neither memory nor threads (" +
                                   std::to_string(core->bytes_.size()) + " bytes)"));
    }
    return core;
}

Result<void> CoreFile::map() {
    // Opening must neither wait for the writer of a pipe nor make a terminal ours.
    const files::FileDescriptor file(
        ::open(path_.c_str(), O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
    if (!file) return fail(system_error("open", path_));
    const int fd = file.get();

    struct stat status;
    if (::fstat(fd, &status) != 0) return fail(system_error("fstat", path_));
    if (S_ISDIR(status.st_mode)) {
        return fail(core_error(ErrorCode::kNotACore, path_, "is a directory, not a core file"));
    }
    if (!S_ISREG(status.st_mode)) {
        return fail(core_error(ErrorCode::kNotACore, path_, "is not a regular file"));
    }
    modified_ns_ = std::int64_t{status.st_mtim.tv_sec} * 1'000'000'000 + status.st_mtim.tv_nsec;
    written_by_ = files::sole_writer(file);
    if (status.st_size == 0) {
        return fail(core_error(ErrorCode::kCoreTruncated, path_,
                               "is empty: the disk was full or the core size limit was too small"));
    }
    const auto size = static_cast<std::size_t>(status.st_size);
    auto mapped = MappedFile::map(fd, size);
    if (!mapped) return fail(system_error("mmap", path_));
    file_ = *std::move(mapped);
    bytes_ = file_.bytes();
    return {};
}

Result<void> CoreFile::check_header() const {
    const std::string_view head(reinterpret_cast<const char*>(bytes_.data()),
                                std::min<std::size_t>(bytes_.size(), sizeof(Elf64_Ehdr)));
    const auto reject = [&](ErrorCode code, std::string_view text) {
        return fail(core_error(code, path_, text));
    };
    for (const Magic& magic : kOtherFiles) {
        if (head.starts_with(magic.bytes)) return reject(ErrorCode::kNotACore, magic.text);
    }
    constexpr std::string_view kElfMagic(ELFMAG, SELFMAG);
    if (!head.starts_with(kElfMagic)) {
        if (!kElfMagic.starts_with(head)) {
            return reject(ErrorCode::kNotACore, "is not an ELF core file");
        }
        return reject(ErrorCode::kCoreTruncated, "is truncated within its ELF header");
    }
    if (head.size() > EI_DATA) {
        if (head[EI_DATA] == ELFDATA2MSB) {
            return reject(ErrorCode::kUnsupportedTarget,
                          "is from a big-endian machine; only little-endian cores can be read");
        }
        if (head[EI_CLASS] == ELFCLASS32) {
            return reject(ErrorCode::kUnsupportedTarget,
                          "is from a 32-bit process; only 64-bit cores can be read");
        }
        if (head[EI_CLASS] != ELFCLASS64 || head[EI_DATA] != ELFDATA2LSB) {
            return reject(ErrorCode::kNotACore, "is not a valid ELF file");
        }
    }
    const auto header = load<Elf64_Ehdr>(bytes_, 0);
    if (!header) return reject(ErrorCode::kCoreTruncated, "is truncated within its ELF header");
    switch (header->e_type) {
        case ET_CORE:
            break;
        case ET_EXEC:
            return reject(ErrorCode::kNotACore, "is an executable, not a core file");
        case ET_DYN:
            return reject(ErrorCode::kNotACore, "is an executable or a library, not a core file");
        case ET_REL:
            return reject(ErrorCode::kNotACore, "is an object file, not a core file");
        default:
            return reject(ErrorCode::kNotACore, "is an ELF file but not a core file");
    }
    if (header->e_machine != kMachine) {
        return reject(ErrorCode::kUnsupportedTarget, "is from " + machine_name(header->e_machine) +
                                                         "; this build reads cores from " +
                                                         machine_name(kMachine));
    }
    if (header->e_phentsize != sizeof(Elf64_Phdr)) {
        return reject(ErrorCode::kNotACore, "has program headers of the wrong size");
    }
    return {};
}

std::span<const std::byte> CoreFile::bytes_at(FileOffset offset, std::uint64_t size) const {
    if (offset.value >= bytes_.size()) return {};
    return bytes_.subspan(offset.value,
                          std::min<std::uint64_t>(size, bytes_.size() - offset.value));
}

Result<void> CoreFile::read_program_headers(WorkLimits& limits) {
    CoreShares shares(limits);
    shares.done_with = MappedFile::release;
    const Elf64_Ehdr header = *load<Elf64_Ehdr>(bytes_, 0);
    const std::uint64_t promised = count_program_headers(bytes_, header);
    const std::uint64_t present =
        bytes_at({header.e_phoff}, bytes_.size()).size() / sizeof(Elf64_Phdr);
    const std::uint64_t count = std::min({promised, present, kMaxProgramHeaders});
    damage_.missing_headers = promised - count;
    damage_.file_size = bytes_.size();

    for (std::uint64_t i = 0; i < count; ++i) {
        if (limits.cancelled()) return fail(cancelled());
        const auto entry = *load<Elf64_Phdr>(bytes_, header.e_phoff + i * sizeof(Elf64_Phdr));
        if (entry.p_type != PT_LOAD && entry.p_type != PT_NOTE) continue;
        // A size beyond all bounds counts as missing like any other.
        const std::uint64_t file_end = checked_add(entry.p_offset, entry.p_filesz)
                                           .value_or(std::numeric_limits<std::uint64_t>::max());
        damage_.expected_size = std::max(damage_.expected_size, file_end);
        const auto present_bytes = bytes_at({entry.p_offset}, entry.p_filesz);
        if (entry.p_type == PT_NOTE) {
            parse_notes(present_bytes, notes_, shares);
            if (present_bytes.size() < entry.p_filesz) notes_.cut = true;
            continue;
        }
        const auto end = checked_add(entry.p_vaddr, entry.p_memsz);
        if (!end || entry.p_memsz == 0) continue;
        if (!shares.segments.charge(kSegmentBytes)) {
            ++refused_segments_;
            continue;
        }
        CoreSegment segment{.range = {{entry.p_vaddr}, {*end}},
                            .offset = {entry.p_offset},
                            .dumped = std::min(entry.p_filesz, entry.p_memsz),
                            .available = 0,
                            .readable = (entry.p_flags & PF_R) != 0,
                            .writable = (entry.p_flags & PF_W) != 0,
                            .executable = (entry.p_flags & PF_X) != 0};
        segment.available = std::min<std::uint64_t>(segment.dumped, present_bytes.size());
        if (segment.available < segment.dumped) {
            ++damage_.cut_segments;
            damage_.missing_bytes = checked_add(damage_.missing_bytes, segment.cut_range().size())
                                        .value_or(std::numeric_limits<std::uint64_t>::max());
        }
        segments_.push_back(segment);
    }
    if (limits.cancelled()) return fail(cancelled());
    damage_.notes_cut = notes_.cut;
    std::stable_sort(segments_.begin(), segments_.end(),
                     [](const auto& a, const auto& b) { return a.range.begin < b.range.begin; });
    return {};
}

std::vector<memory::Region> CoreFile::regions() const {
    std::vector<memory::Region> regions;
    regions.reserve(segments_.size());
    const std::shared_ptr<const CoreFile> self = shared_from_this();
    for (const CoreSegment& segment : segments_) {
        if (segment.available == 0) continue;
        regions.push_back(memory::Region::of_bytes(
            segment.range.begin, bytes_at(segment.offset, segment.available), self));
    }
    return regions;
}

}  // namespace pystack::elf
