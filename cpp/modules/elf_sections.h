#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

namespace pystack::modules {

struct ElfSection {
    std::string_view name;
    std::uint32_t type = 0;  ///< SHT_...
    std::uint64_t flags = 0;
    std::uint64_t address = 0;
    std::uint64_t size = 0;
    std::uint32_t link = 0;  ///< The index of another section.
    std::span<const std::byte>
        bytes;  ///< Empty for SHT_NOBITS, and where the file ends before them.
};

/// The section headers of an ELF file in memory; none for a file that has none or makes no sense.
/// The bytes belong to the caller and must outlive this.
class ElfSections {
  public:
    explicit ElfSections(std::span<const std::byte> file);

    /// By index in the file; the one at 0 is empty.
    std::span<const ElfSection> all() const { return sections_; }
    const ElfSection* find(std::string_view name) const;
    const ElfSection* find_type(std::uint32_t type) const;
    /// The section with this address in it, among those that are loaded.
    const ElfSection* at(std::uint64_t address) const;

  private:
    std::vector<ElfSection> sections_;
};

/// The NUL-terminated text at `offset`; empty when it does not end within the bytes.
std::string_view text_at(std::span<const std::byte> bytes, std::uint64_t offset);

}  // namespace pystack::modules
