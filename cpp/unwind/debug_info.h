#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "unwind/debug_files.h"
#include "unwind/dwarf_handle.h"

namespace pystack::unwind {

/// What DWARF says of one function at an address.
struct DebugFrame {
    std::string name;  ///< As in the source, with the namespaces and classes around it where known.
    std::string linkage_name;  ///< Mangled; empty where DWARF has none (C, and some of C++).
    std::string
        file;  ///< Where the address is in this function, or where it calls the inlined one.
    std::uint32_t line = 0;  ///< 0: not known.
    bool is_inlined = false;
};

/// The DWARF information of one file. Compilation units are read when an address in them is first
/// asked for. Belongs to one thread at a time.
class DebugInfo {
  public:
    /// Null when the file has no DWARF. `path` is where it was found, for files it refers to;
    /// `owner` keeps the bytes alive.
    static std::unique_ptr<DebugInfo> open(std::span<const std::byte> bytes, std::string path,
                                           std::shared_ptr<const void> owner,
                                           const DebugFileOptions& options);

    /// The function at an address of the file with those that were inlined into it, innermost
    /// first; empty when it is not in any.
    std::vector<DebugFrame> frames(std::uint64_t address);
    /// The line table's word alone, for code without a function (assembler).
    std::optional<DebugFrame> line(std::uint64_t address);

  private:
    DebugInfo(std::span<const std::byte> bytes, std::shared_ptr<const void> owner)
        : owner_(std::move(owner)), dwarf_(bytes) {}

    struct Range {
        std::uint64_t begin = 0;
        std::uint64_t end = 0;
        std::uint64_t die = 0;  // Offset in .debug_info.
    };
    /// Sorted by begin.
    using Ranges = std::vector<Range>;

    void open_alternate(const std::string& path, const DebugFileOptions& options);
    std::optional<std::uint64_t> unit_at(std::uint64_t address);
    const Ranges& functions_of(std::uint64_t unit);

    std::shared_ptr<const void> owner_;
    std::optional<DebugFile> alternate_file_;
    std::unique_ptr<DwarfHandle>
        alternate_;  // Of what dwz moved out. Before dwarf_, which uses it.
    DwarfHandle dwarf_;
    std::optional<Ranges> units_;  // Made when .debug_aranges does not know an address.
    std::unordered_map<std::uint64_t, Ranges> functions_;  // By the offset of their unit.
};

}  // namespace pystack::unwind
