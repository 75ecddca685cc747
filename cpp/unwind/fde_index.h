#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "unwind/code_module.h"

namespace pystack::unwind {

/// Where functions begin and end, from .eh_frame: known also for stripped files. A function that
/// the compiler split (GCC's .cold parts) counts as several.
class FdeIndex {
  public:
    explicit FdeIndex(std::shared_ptr<const CodeModule> module);

    struct Range {
        std::uint64_t begin = 0;  ///< As in the file.
        std::uint64_t end = 0;
        bool contains(std::uint64_t address) const { return begin <= address && address < end; }
    };

    /// nullopt when no entry covers the address, or the file lacks the search table that linkers
    /// make by default.
    std::optional<Range> find(std::uint64_t file_address) const;

  private:
    std::optional<Range> read_entry(std::uint64_t entry_address) const;

    std::shared_ptr<const CodeModule> module_;
    std::uint64_t header_ = 0;  // Address of .eh_frame_hdr.
    std::uint64_t table_ = 0;   // Address of its first row.
    std::uint64_t count_ = 0;
};

}  // namespace pystack::unwind
