#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/step_batch.h"
#include "base/work_limits.h"
#include "modules/debug_sections.h"
#include "symbols/abbreviations.h"
#include "symbols/form_value.h"

namespace pystack::symbols {

/// A compilation unit, a partial one, or one of types.
struct DwarfUnit {
    std::uint64_t offset = 0;  ///< Of its header in .debug_info; so are the next two.
    std::uint64_t first_entry = 0;
    std::uint64_t end = 0;
    std::uint64_t abbreviations = 0;
    FormSizes sizes;
    // What its root says:
    std::uint16_t tag = 0;
    std::uint16_t language = 0;
    std::uint64_t string_offsets = 0;  ///< Where its part of .debug_str_offsets begins.
    std::uint64_t addresses = 0;       ///< The same of .debug_addr.
    std::uint64_t range_lists = 0;     ///< The same of .debug_rnglists.
    std::uint64_t base_address = 0;
    std::optional<std::uint64_t> lines;  ///< Offset of its table in .debug_line.
    std::string_view folder;             ///< In which it was compiled.
};

class DwarfFile;

/// A debugging information entry: a place in a file.
struct DwarfEntry {
    const DwarfFile* file = nullptr;
    const DwarfUnit* unit = nullptr;
    std::uint64_t offset = 0;  ///< In .debug_info.
    std::uint64_t values = 0;  ///< Offset of its first value.
    Abbreviation abbreviation;

    std::uint16_t tag() const { return abbreviation.tag; }
};

/// The DWARF of one file, versions 2 to 5: its units, and the values of their entries. Everything
/// in it is untrusted: an entry or value that makes no sense is absent, every loop takes steps, and
/// what is kept takes bytes. Belongs to one thread at a time.
class DwarfFile {
  public:
    /// `alternate` is what dwz made of the common parts of several files. It and the bytes must
    /// outlive this.
    DwarfFile(std::span<const std::byte> file, std::shared_ptr<WorkLimits> limits,
              const DwarfFile* alternate = nullptr);
    DwarfFile(const DwarfFile&) = delete;
    DwarfFile& operator=(const DwarfFile&) = delete;

    std::span<const DwarfUnit> units() const { return units_; }
    const DwarfUnit* unit_with(std::uint64_t offset) const;
    WorkLimits& limits() const { return *limits_; }
    std::span<const std::byte> lines() const { return lines_; }
    const std::string& problem() const { return sections_.problem(); }

    /// Whether a list of children ends there.
    bool is_end_of_list(std::uint64_t offset) const {
        return offset < entries_.size() && entries_[offset] == std::byte{0};
    }
    /// nullopt for the end of a list of children, and where there is nothing that makes sense.
    std::optional<DwarfEntry> entry_at(const DwarfUnit& unit, std::uint64_t offset) const;
    std::optional<DwarfEntry> root(const DwarfUnit& unit) const {
        return entry_at(unit, unit.first_entry);
    }
    /// Where the values of an entry end; nullopt when they do not.
    std::optional<std::uint64_t> end_of(const DwarfEntry& entry) const;
    FormValue value(const DwarfEntry& entry, std::uint16_t attribute) const;
    std::string_view text(const DwarfUnit& unit, const FormValue& value) const;
    std::string_view text(const DwarfEntry& entry, std::uint16_t attribute) const {
        return text(*entry.unit, value(entry, attribute));
    }
    /// The entry that an attribute refers to, perhaps in another unit or the alternate file.
    std::optional<DwarfEntry> reference(const DwarfEntry& entry, std::uint16_t attribute) const;

    struct Range {
        std::uint64_t begin = 0;
        std::uint64_t end = 0;
    };
    /// The code that an entry is about, without empty ranges.
    std::vector<Range> ranges(const DwarfEntry& entry) const;
    bool contains(const DwarfEntry& entry, std::uint64_t address) const;

  private:
    void read_units();
    bool read_root(DwarfUnit& unit);
    Abbreviations& abbreviations(const DwarfUnit& unit) const;
    std::optional<std::uint64_t> address(const DwarfUnit& unit, const FormValue& value) const;
    template <std::size_t N>
    std::array<FormValue, N> values(const DwarfEntry& entry,
                                    const std::array<std::uint16_t, N>& names) const;
    template <class Visit>
    void for_each_range(const DwarfEntry& entry, Visit visit) const;
    template <class Visit>
    void for_each_listed(const DwarfUnit& unit, std::uint64_t offset, Visit visit) const;
    template <class Visit>
    void for_each_old(const DwarfUnit& unit, std::uint64_t offset, Visit visit) const;
    std::optional<std::uint64_t> range_list(const DwarfUnit& unit, const FormValue& value) const;

    std::shared_ptr<WorkLimits> limits_;
    const DwarfFile* alternate_;
    modules::DebugSections sections_;
    std::span<const std::byte> entries_;  // .debug_info
    std::span<const std::byte> abbreviations_;
    std::span<const std::byte> strings_;
    std::span<const std::byte> line_strings_;
    std::span<const std::byte> string_offsets_;
    std::span<const std::byte> addresses_;
    std::span<const std::byte> ranges_;
    std::span<const std::byte> range_lists_;
    std::span<const std::byte> lines_;
    std::vector<DwarfUnit> units_;                           // By offset.
    mutable std::map<std::uint64_t, Abbreviations> tables_;  // By offset in .debug_abbrev.
};

}  // namespace pystack::symbols
