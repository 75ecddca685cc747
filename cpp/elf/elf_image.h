#pragma once

#include <elf.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/address.h"
#include "base/result.h"
#include "elf/symbol_lookup.h"
#include "files/file_descriptor.h"

namespace pystack::elf {

/// The one ELF machine this build reads.
#if defined(__x86_64__)
inline constexpr std::uint16_t kSupportedMachine = EM_X86_64;
#elif defined(__aarch64__)
inline constexpr std::uint16_t kSupportedMachine = EM_AARCH64;
#else
#error "elf_image.h: name the ELF machine of this architecture"
#endif

struct Section {
    std::string name;
    std::uint64_t address = 0;  ///< As in the file; 0 for sections that are not loaded.
    std::uint64_t size = 0;
    FileOffset offset;
    bool has_bytes = true;  ///< false for SHT_NOBITS.
};

struct LoadSegment {
    std::uint64_t address = 0;
    std::uint64_t memory_size = 0;
    std::uint64_t file_size = 0;
    FileOffset offset;
    bool writable = false;
    bool executable = false;
};

/// One ELF file, memory-mapped read-only. Files are untrusted: everything is bounds-checked, and a
/// file that makes no sense is an error or an absent answer, never a crash. Thread-safe after
/// construction.
///
/// Only the pages that a question needs are touched. A file that somebody cuts short while it is
/// mapped reads as zeros from there on: see is_torn().
class ElfImage {
  public:
    /// About what an open file takes: its tables, and the pages of it that are touched.
    static constexpr std::uint64_t kBytes = 32 << 10;

    /// kMissingBinary when it cannot be opened or is not a regular file (detail has the path and
    /// why; pipes and devices are not opened); kCorruptData("ELF header" or "ELF program headers")
    /// when it is not an ELF file or a cut one; kUnsupportedTarget for 32-bit, big-endian or
    /// another architecture.
    static Result<std::shared_ptr<const ElfImage>> open(const std::string& path);
    /// Of a file that is open already, as files that a target names are: `path` is for messages.
    static Result<std::shared_ptr<const ElfImage>> read(const files::FileDescriptor& file,
                                                        const std::string& path);
    ~ElfImage();
    ElfImage(const ElfImage&) = delete;
    ElfImage& operator=(const ElfImage&) = delete;

    std::span<const LoadSegment> load_segments() const;
    /// By name, from the section headers; absent on files without them.
    std::optional<Section> section(std::string_view name) const;
    /// The section's bytes as they are in the file (compressed sections stay so); empty for
    /// SHT_NOBITS and where the file ends before the section does.
    std::span<const std::byte> section_bytes(const Section& section) const;
    /// From .symtab, then .dynsym, then (without section headers) the dynamic segment's tables.
    /// Only defined symbols with an address: neither absolute nor thread-local ones. Within a table
    /// a global symbol goes before a local one of the same name.
    std::optional<Symbol> symbol(std::string_view name) const;
    /// The same for several names in one pass; the answers are in the order of the names.
    std::vector<std::optional<Symbol>> symbols(std::span<const std::string_view> names) const;
    /// The file's bytes that are loaded at `address` (as in the file) and behind it, to the end of
    /// its segment's part of the file; empty when no segment has bytes there.
    std::span<const std::byte> bytes_from(std::uint64_t address) const;
    /// GNU build id as lower-case hex; empty when there is none.
    const std::string& build_id() const;
    std::span<const std::byte> bytes() const;
    /// Whether answers may be wrong because the file was cut short while it was read: to be asked
    /// after them.
    bool is_torn() const;

  private:
    ElfImage();
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace pystack::elf
