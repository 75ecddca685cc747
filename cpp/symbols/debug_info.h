#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "modules/debug_files.h"
#include "symbols/dwarf_file.h"
#include "symbols/line_table.h"
#include "symbols/unit_tree.h"

namespace pystack::symbols {

/// What DWARF says of one function at an address.
struct DebugFrame {
    std::string name;  ///< As in the source, with the namespaces and classes around it where known.
    std::string linkage_name;  ///< Mangled; empty where DWARF has none (C, and some of C++).
    std::string
        file;  ///< Where the address is in this function, or where it calls the inlined one.
    std::uint32_t line = 0;  ///< 0: not known.
    bool is_inlined = false;
};

/// The DWARF information of one file: names, lines and inlined functions. Compilation units are
/// read when an address in them is first asked for. Belongs to one thread at a time.
class DebugInfo {
  public:
    /// Null when the file has no DWARF. `path` is where it was found, for files it refers to;
    /// `owner` keeps the bytes alive.
    static std::unique_ptr<DebugInfo> open(std::span<const std::byte> bytes,
                                           const std::string& path,
                                           std::shared_ptr<const void> owner,
                                           const modules::DebugFileOptions& options);

    /// The function at an address of the file with those that were inlined into it, innermost
    /// first; empty when it is not in any.
    std::vector<DebugFrame> frames(std::uint64_t address);
    /// The line table's word alone, for code without a function (assembler).
    std::optional<DebugFrame> line(std::uint64_t address);
    /// Why the information is not used, or not all of it; empty when nothing is wrong.
    const std::string& problem() const;

  private:
    DebugInfo(std::span<const std::byte> bytes, std::shared_ptr<const void> owner,
              std::optional<modules::DebugFile> alternate,
              const std::shared_ptr<WorkLimits>& limits);

    /// Code, and the offset of what it belongs to in .debug_info.
    struct Range {
        std::uint64_t begin = 0;
        std::uint64_t end = 0;
        std::uint64_t owner = 0;
    };
    /// Sorted by begin.
    using Ranges = std::vector<Range>;

    void add_ranges(const DwarfEntry& entry, std::uint64_t owner, Ranges& ranges);
    static std::optional<std::uint64_t> owner_of(const Ranges& ranges, std::uint64_t address);
    const DwarfUnit* unit_at(std::uint64_t address);
    const Ranges& functions_of(const DwarfUnit& unit);
    const UnitTree& tree_of(const DwarfFile& file, const DwarfUnit& unit);
    const LineTable& lines_of(const DwarfUnit& unit);
    std::vector<DwarfEntry> inlined_chain(const DwarfEntry& function, std::uint64_t address);
    std::string qualified_name(const DwarfEntry& entry, int depth = 0);

    std::shared_ptr<const void> owner_;
    std::optional<modules::DebugFile> alternate_file_;
    std::unique_ptr<DwarfFile> alternate_;  // Of what dwz moved out.
    DwarfFile dwarf_;
    std::optional<Ranges> units_;                // Null until it is needed.
    std::map<std::uint64_t, Ranges> functions_;  // By the offset of their unit.
    std::map<std::uint64_t, LineTable> lines_;   // The same.
    std::map<std::pair<const DwarfFile*, std::uint64_t>, UnitTree> trees_;
};

}  // namespace pystack::symbols
