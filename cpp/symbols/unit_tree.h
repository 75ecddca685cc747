#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "symbols/dwarf_file.h"

namespace pystack::symbols {

/// How the entries of one unit nest, read in one pass over its bytes. What entries themselves say
/// of the place of their next sibling is not believed: a hostile file makes rings of it.
class UnitTree {
  public:
    /// An entry with children.
    struct Scope {
        std::uint32_t begin = 0;  ///< From the unit's header to the entry.
        std::uint32_t end = 0;    ///< To behind its last child.
        std::uint32_t parent = kNone;
        std::uint16_t tag = 0;
    };
    static constexpr std::uint32_t kNone = UINT32_MAX;

    /// As far as the limits allow, or the entries make sense.
    UnitTree(const DwarfFile& file, const DwarfUnit& unit);

    /// Offsets in .debug_info of all functions, in their order.
    std::span<const std::uint64_t> functions() const { return functions_; }
    /// The innermost scope around the entry at an offset in .debug_info, or null.
    const Scope* around(std::uint64_t offset) const;
    const Scope* parent(const Scope& scope) const {
        return scope.parent == kNone ? nullptr : &scopes_[scope.parent];
    }
    std::uint64_t offset_of(const Scope& scope) const { return unit_offset_ + scope.begin; }
    /// Where the next sibling of an entry is, or the end of the list.
    std::optional<std::uint64_t> next_sibling(const DwarfEntry& entry) const;

  private:
    std::uint64_t unit_offset_;
    std::vector<Scope> scopes_;  // By begin.
    std::vector<std::uint64_t> functions_;
};

}  // namespace pystack::symbols
