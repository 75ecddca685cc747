#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/work_limits.h"
#include "modules/elf_sections.h"

namespace pystack::modules {

/// The section with a name like ".debug_info", or its compressed form of old, ".zdebug_info".
const ElfSection* find_debug_section(const ElfSections& sections, std::string_view name);

/// The debug sections of a file, unpacked where they are compressed. A small file can promise any
/// size, so that is bounded before anything is unpacked: in proportion to the packed size, and by
/// the limits. Belongs to one thread at a time.
class DebugSections {
  public:
    /// The bytes must outlive this, and do not change.
    DebugSections(std::span<const std::byte> file, std::shared_ptr<WorkLimits> limits)
        : sections_(file), limits_(std::move(limits)) {}

    /// See find_debug_section. Empty when there is none, or it cannot be unpacked.
    std::span<const std::byte> bytes(std::string_view name);
    /// Why something could not be unpacked; empty when nothing is wrong.
    const std::string& problem() const { return problem_; }

  private:
    /// Compressed bytes and what they say of themselves.
    struct Packed {
        enum class Format : std::uint8_t { kZlib, kZstd, kUnknown };
        Format format = Format::kUnknown;
        std::uint64_t size = 0;  ///< Unpacked.
        std::span<const std::byte> bytes;
    };
    struct Unpacked {
        std::unique_ptr<std::byte[]> bytes;
        std::size_t size = 0;
    };

    static std::optional<Packed> packed(const ElfSection& section);
    Unpacked unpack(std::string_view name, const Packed& packed);

    ElfSections sections_;
    std::shared_ptr<WorkLimits> limits_;
    std::map<std::string, Unpacked, std::less<>> unpacked_;  // By the name that was asked for.
    std::string problem_;
};

}  // namespace pystack::modules
