#include "symbols/abbreviations.h"

#include "modules/dwarf_constants.h"

namespace pystack::symbols {

namespace {

/// Far more than anything has.
constexpr std::uint32_t kMaxAttributes = 1 << 10;

}  // namespace

std::optional<Abbreviation> Abbreviations::find(std::uint64_t code) {
    const std::uint64_t index = code - 1;
    while (true) {
        if (index < table_.size() && table_[index].code == code) return table_[index];
        if (!others_.empty()) {
            if (const auto other = others_.find(code); other != others_.end())
                return table_[other->second];
        }
        if (is_complete_) return std::nullopt;
        if (!read_next()) is_complete_ = true;
    }
}

bool Abbreviations::read_next() {
    Abbreviation next;
    next.code = rest_.take_uleb128();
    if (rest_.failed() || next.code == 0) return false;
    const std::uint64_t tag = rest_.take_uleb128();
    next.tag = tag <= UINT16_MAX ? static_cast<std::uint16_t>(tag) : std::uint16_t{0};
    next.has_children = rest_.take<std::uint8_t>() != 0;
    next.first_attribute = static_cast<std::uint32_t>(attributes_.size());
    while (next.attribute_count < kMaxAttributes) {
        const std::uint64_t name = rest_.take_uleb128();
        const std::uint64_t form = rest_.take_uleb128();
        const bool is_constant = form == modules::dwarf::kFormImplicitConstant;
        const std::int64_t constant = is_constant ? rest_.take_sleb128() : 0;
        if (rest_.failed() || name > UINT16_MAX || form > UINT16_MAX) return false;
        if (name == 0 && form == 0) break;
        attributes_.push_back(
            {static_cast<std::uint16_t>(name), static_cast<std::uint16_t>(form), constant});
        ++next.attribute_count;
    }
    // Twice, because vectors grow by doubling.
    const std::uint64_t size =
        2 * (sizeof(Abbreviation) + next.attribute_count * sizeof(AttributeLayout));
    if (next.attribute_count == kMaxAttributes || table_.size() >= UINT32_MAX / kMaxAttributes ||
        !limits_.charge_bytes(size) || !limits_.charge_steps(1 + next.attribute_count)) {
        return false;
    }
    if (next.code - 1 != table_.size()) others_.try_emplace(next.code, table_.size());
    table_.push_back(next);
    return true;
}

}  // namespace pystack::symbols
