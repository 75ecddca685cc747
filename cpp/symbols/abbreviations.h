#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <vector>

#include "base/work_limits.h"
#include "modules/byte_cursor.h"

namespace pystack::symbols {

/// How the entries of one kind are laid out.
struct Abbreviation {
    std::uint64_t code = 0;
    std::uint16_t tag = 0;
    bool has_children = false;
    std::uint32_t first_attribute = 0;
    std::uint32_t attribute_count = 0;
};

struct AttributeLayout {
    std::uint16_t name = 0;
    std::uint16_t form = 0;
    std::int64_t constant = 0;  ///< Of modules::dwarf::kFormImplicitConstant.
};

/// One table of abbreviations, read as far as it is needed: the first few are enough to look at a
/// unit's root. Belongs to one thread at a time.
class Abbreviations {
  public:
    /// `limits` must outlive this.
    Abbreviations(std::span<const std::byte> section, std::uint64_t offset, WorkLimits& limits)
        : rest_(section, offset), limits_(limits) {}

    /// nullopt when there is none, or the limits are reached.
    std::optional<Abbreviation> find(std::uint64_t code);
    std::span<const AttributeLayout> attributes(const Abbreviation& abbreviation) const {
        return std::span(attributes_)
            .subspan(abbreviation.first_attribute, abbreviation.attribute_count);
    }

  private:
    bool read_next();

    modules::ByteCursor rest_;
    WorkLimits& limits_;
    std::vector<Abbreviation> table_;  // Compilers count from 1, so that code - 1 is the index.
    std::map<std::uint64_t, std::size_t> others_;  // By code, where it is not.
    std::vector<AttributeLayout> attributes_;
    bool is_complete_ = false;
};

}  // namespace pystack::symbols
