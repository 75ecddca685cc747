#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "modules/code_module.h"
#include "modules/frame_section.h"

namespace pystack::modules {

/// Where functions begin and end, and how to unwind them, by the search table that linkers make for
/// .eh_frame (.eh_frame_hdr): known also for stripped files. A function that the compiler split
/// (GCC's .cold parts) counts as several.
class FdeIndex {
  public:
    explicit FdeIndex(std::shared_ptr<const CodeModule> module);

    struct Range {
        std::uint64_t begin = 0;  ///< As in the file.
        std::uint64_t end = 0;
        bool contains(std::uint64_t address) const { return begin <= address && address < end; }
    };

    /// Whether the file has that table.
    bool has_table() const { return !rows_.empty(); }
    /// nullopt when no entry covers the address.
    std::optional<FrameEntry> entry(std::uint64_t file_address) const;
    std::optional<Range> find(std::uint64_t file_address) const;

  private:
    std::shared_ptr<const CodeModule> module_;
    std::uint64_t header_ = 0;         // Address of .eh_frame_hdr.
    std::span<const std::byte> rows_;  // Whole ones.
    FrameSection section_{{}, 0, FrameSection::Kind::kEhFrame};
};

}  // namespace pystack::modules
