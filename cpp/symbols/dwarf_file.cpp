#include "symbols/dwarf_file.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "base/checked.h"
#include "modules/dwarf_constants.h"

namespace pystack::symbols {

namespace {

/// Names of templates have some KiB; this bounds the copies of hostile ones.
constexpr std::uint64_t kMaxText = 1 << 16;
/// Of the tables of DWARF 5 with indices: what lies before the first entry, for files whose units
/// do not name their part.
constexpr std::uint64_t kStringOffsetsHeader = 8;

std::string_view text_of(std::span<const std::byte> strings, std::uint64_t offset) {
    if (offset >= strings.size()) return {};
    const auto rest = strings.subspan(offset);
    return modules::text_at(rest.first(std::min<std::uint64_t>(rest.size(), kMaxText)), 0);
}

std::optional<std::uint64_t> number_at(std::span<const std::byte> table, std::uint64_t base,
                                       std::uint64_t index, std::size_t size) {
    const auto distance = checked_multiply(index, size);
    const auto place = distance ? checked_add(base, *distance) : std::nullopt;
    if (!place) return std::nullopt;
    modules::ByteCursor cursor(table, *place);
    const std::uint64_t number = cursor.take_number(size);
    return cursor.failed() ? std::nullopt : std::optional(number);
}

}  // namespace

DwarfFile::DwarfFile(std::span<const std::byte> file, std::shared_ptr<WorkLimits> limits,
                     const DwarfFile* alternate)
    : limits_(limits),
      alternate_(alternate),
      sections_(file, std::move(limits)),
      entries_(sections_.bytes(".debug_info")),
      abbreviations_(sections_.bytes(".debug_abbrev")),
      strings_(sections_.bytes(".debug_str")),
      line_strings_(sections_.bytes(".debug_line_str")),
      string_offsets_(sections_.bytes(".debug_str_offsets")),
      addresses_(sections_.bytes(".debug_addr")),
      ranges_(sections_.bytes(".debug_ranges")),
      range_lists_(sections_.bytes(".debug_rnglists")),
      lines_(sections_.bytes(".debug_line")) {
    read_units();
}

void DwarfFile::read_units() {
    constexpr std::uint32_t kLongLength = 0xffffffff;
    constexpr std::uint32_t kFirstReserved = 0xfffffff0;
    std::uint64_t next = 0;
    while (next < entries_.size()) {
        modules::ByteCursor cursor(entries_, next);
        DwarfUnit unit{.offset = next};
        std::uint64_t length = cursor.take<std::uint32_t>();
        if (length == kLongLength) {
            unit.sizes.offset_size = 8;
            length = cursor.take<std::uint64_t>();
        } else if (length >= kFirstReserved) {
            return;
        }
        if (cursor.failed() || length == 0 || length > cursor.left()) return;
        unit.end = cursor.position() + length;
        next = unit.end;

        unit.sizes.version = cursor.take<std::uint16_t>();
        std::uint8_t type = modules::dwarf::kUnitCompile;
        std::uint8_t address_size = 0;
        if (unit.sizes.version >= 5) {
            type = cursor.take<std::uint8_t>();
            address_size = cursor.take<std::uint8_t>();
            unit.abbreviations = cursor.take_number(unit.sizes.offset_size);
            if (type == modules::dwarf::kUnitSkeleton || type == modules::dwarf::kUnitSplitCompile)
                cursor.skip(8);
            if (type == modules::dwarf::kUnitType || type == modules::dwarf::kUnitSplitType)
                cursor.skip(8U + unit.sizes.offset_size);
        } else {
            unit.abbreviations = cursor.take_number(unit.sizes.offset_size);
            address_size = cursor.take<std::uint8_t>();
        }
        unit.first_entry = cursor.position();
        const bool is_known = unit.sizes.version >= 2 && unit.sizes.version <= 5 &&
                              address_size == kAddressSize && unit.first_entry < unit.end;
        // Twice, because vectors grow by doubling.
        const std::uint64_t size = 2 * sizeof unit + sizeof(Abbreviations);
        if (!limits_->charge_bytes(size) || !limits_->charge_steps()) return;
        if (is_known && read_root(unit)) units_.push_back(unit);
    }
}

bool DwarfFile::read_root(DwarfUnit& unit) {
    const bool is_new = unit.sizes.version >= 5;
    unit.string_offsets = is_new ? kStringOffsetsHeader : 0;
    const auto entry = root(unit);
    if (!entry) return false;
    unit.tag = entry->tag();
    modules::ByteCursor cursor(entries_.first(unit.end), entry->values);
    FormValue low;
    FormValue folder;
    for (const AttributeLayout& layout : abbreviations(unit).attributes(entry->abbreviation)) {
        const FormValue value = take_value(cursor, layout.form, layout.constant, unit.sizes);
        switch (layout.name) {
            case modules::dwarf::kAtLanguage:
                unit.language = static_cast<std::uint16_t>(value.number);
                break;
            case modules::dwarf::kAtStatementList:
                unit.lines = value.number;
                break;
            case modules::dwarf::kAtStringOffsetsBase:
                unit.string_offsets = value.number;
                break;
            case modules::dwarf::kAtAddressBase:
                unit.addresses = value.number;
                break;
            case modules::dwarf::kAtRangeListsBase:
                unit.range_lists = value.number;
                break;
            case modules::dwarf::kAtLowPc:
                low = value;
                break;
            case modules::dwarf::kAtCompilationFolder:
                folder = value;
                break;
            default:
                break;
        }
    }
    if (cursor.failed()) return false;
    // They may need the bases, which can come behind them.
    unit.base_address = address(unit, low).value_or(0);
    unit.folder = text(unit, folder);
    return true;
}

const DwarfUnit* DwarfFile::unit_with(std::uint64_t offset) const {
    const auto after = std::ranges::upper_bound(units_, offset, {}, &DwarfUnit::offset);
    if (after == units_.begin() || offset >= std::prev(after)->end) return nullptr;
    return &*std::prev(after);
}

Abbreviations& DwarfFile::abbreviations(const DwarfUnit& unit) const {
    return tables_.try_emplace(unit.abbreviations, abbreviations_, unit.abbreviations, *limits_)
        .first->second;
}

std::optional<DwarfEntry> DwarfFile::entry_at(const DwarfUnit& unit, std::uint64_t offset) const {
    if (offset < unit.first_entry || offset >= unit.end) return std::nullopt;
    modules::ByteCursor cursor(entries_.first(unit.end), offset);
    const std::uint64_t code = cursor.take_uleb128();
    if (cursor.failed() || code == 0) return std::nullopt;
    const auto abbreviation = abbreviations(unit).find(code);
    if (!abbreviation) return std::nullopt;
    return DwarfEntry{.file = this,
                      .unit = &unit,
                      .offset = offset,
                      .values = cursor.position(),
                      .abbreviation = *abbreviation};
}

std::optional<std::uint64_t> DwarfFile::end_of(const DwarfEntry& entry) const {
    modules::ByteCursor cursor(entries_.first(entry.unit->end), entry.values);
    for (const AttributeLayout& layout :
         abbreviations(*entry.unit).attributes(entry.abbreviation)) {
        take_value(cursor, layout.form, layout.constant, entry.unit->sizes);
    }
    return cursor.failed() ? std::nullopt : std::optional(cursor.position());
}

/// Several in one pass, in the order of the names.
template <std::size_t N>
std::array<FormValue, N> DwarfFile::values(const DwarfEntry& entry,
                                           const std::array<std::uint16_t, N>& names) const {
    std::array<FormValue, N> found;
    std::size_t missing = N;
    modules::ByteCursor cursor(entries_.first(entry.unit->end), entry.values);
    for (const AttributeLayout& layout :
         abbreviations(*entry.unit).attributes(entry.abbreviation)) {
        const auto value = take_value(cursor, layout.form, layout.constant, entry.unit->sizes);
        const auto name = std::ranges::find(names, layout.name);
        if (name == names.end()) continue;
        found[static_cast<std::size_t>(name - names.begin())] = value;
        if (--missing == 0) break;
    }
    return found;
}

FormValue DwarfFile::value(const DwarfEntry& entry, std::uint16_t attribute) const {
    return values(entry, std::array{attribute})[0];
}

std::string_view DwarfFile::text(const DwarfUnit& unit, const FormValue& value) const {
    switch (value.form) {
        case modules::dwarf::kFormString:
            return value.text.substr(0, kMaxText);
        case modules::dwarf::kFormStrP:
            return text_of(strings_, value.number);
        case modules::dwarf::kFormLineStrP:
            return text_of(line_strings_, value.number);
        case modules::dwarf::kFormGnuStrPAlternate:
        case modules::dwarf::kFormStrPSup:
            return alternate_ != nullptr ? text_of(alternate_->strings_, value.number)
                                         : std::string_view();
        case modules::dwarf::kFormStrX:
        case modules::dwarf::kFormStrX1:
        case modules::dwarf::kFormStrX2:
        case modules::dwarf::kFormStrX3:
        case modules::dwarf::kFormStrX4:
        case modules::dwarf::kFormGnuStringIndex: {
            const auto offset = number_at(string_offsets_, unit.string_offsets, value.number,
                                          unit.sizes.offset_size);
            return offset ? text_of(strings_, *offset) : std::string_view();
        }
        default:
            return {};
    }
}

std::optional<std::uint64_t> DwarfFile::address(const DwarfUnit& unit,
                                                const FormValue& value) const {
    if (!value || !is_address(value.form)) return std::nullopt;
    if (value.form == modules::dwarf::kFormAddress) return value.number;
    return number_at(addresses_, unit.addresses, value.number, kAddressSize);
}

std::optional<DwarfEntry> DwarfFile::reference(const DwarfEntry& entry,
                                               std::uint16_t attribute) const {
    const FormValue value = this->value(entry, attribute);
    const DwarfFile* file = this;
    std::uint64_t offset = value.number;
    switch (value.form) {
        case modules::dwarf::kFormRef1:
        case modules::dwarf::kFormRef2:
        case modules::dwarf::kFormRef4:
        case modules::dwarf::kFormRef8:
        case modules::dwarf::kFormRefUData:
            if (offset >= entry.unit->end - entry.unit->offset) return std::nullopt;
            return entry_at(*entry.unit, entry.unit->offset + offset);
        case modules::dwarf::kFormRefAddress:
            break;
        case modules::dwarf::kFormGnuRefAlternate:
        case modules::dwarf::kFormRefSup4:
        case modules::dwarf::kFormRefSup8:
            file = alternate_;
            break;
        default:
            return std::nullopt;
    }
    const DwarfUnit* const unit = file != nullptr ? file->unit_with(offset) : nullptr;
    return unit != nullptr ? file->entry_at(*unit, offset) : std::nullopt;
}

std::optional<std::uint64_t> DwarfFile::range_list(const DwarfUnit& unit,
                                                   const FormValue& value) const {
    if (value.form != modules::dwarf::kFormRangeListX) return value.number;
    const auto distance =
        number_at(range_lists_, unit.range_lists, value.number, unit.sizes.offset_size);
    return distance ? checked_add(unit.range_lists, *distance) : std::nullopt;
}

/// Calls `visit(begin, end)` for each range until it returns false.
template <class Visit>
void DwarfFile::for_each_range(const DwarfEntry& entry, Visit visit) const {
    const auto& unit = *entry.unit;
    const auto [low_value, high, list] = values(
        entry, std::array<std::uint16_t, 3>{modules::dwarf::kAtLowPc, modules::dwarf::kAtHighPc,
                                            modules::dwarf::kAtRanges});
    const auto low = address(unit, low_value);
    if (low && high) {
        const auto end = is_address(high.form)    ? address(unit, high)
                         : is_constant(high.form) ? checked_add(*low, high.number)
                                                  : std::nullopt;
        if (end && *low < *end) visit(*low, *end);
        return;
    }
    const auto offset = list ? range_list(unit, list) : std::nullopt;
    if (!offset) return;
    const auto visit_full = [&](std::uint64_t begin, std::uint64_t end) {
        return begin >= end || visit(begin, end);
    };
    if (unit.sizes.version >= 5) {
        for_each_listed(unit, *offset, visit_full);
    } else {
        for_each_old(unit, *offset, visit_full);
    }
}

/// .debug_ranges, up to version 4.
template <class Visit>
void DwarfFile::for_each_old(const DwarfUnit& unit, std::uint64_t offset, Visit visit) const {
    constexpr std::uint64_t kNewBase = ~std::uint64_t{0};
    modules::ByteCursor cursor(ranges_, offset);
    StepBatch steps(*limits_);
    std::uint64_t base = unit.base_address;
    while (steps.charge()) {
        const auto begin = cursor.take<std::uint64_t>();
        const auto end = cursor.take<std::uint64_t>();
        if (cursor.failed() || (begin == 0 && end == 0)) return;
        if (begin == kNewBase) {
            base = end;
        } else if (!visit(base + begin, base + end)) {
            return;
        }
    }
}

/// .debug_rnglists.
template <class Visit>
void DwarfFile::for_each_listed(const DwarfUnit& unit, std::uint64_t offset, Visit visit) const {
    modules::ByteCursor cursor(range_lists_, offset);
    StepBatch steps(*limits_);
    std::uint64_t base = unit.base_address;
    const auto indexed = [&] {
        return number_at(addresses_, unit.addresses, cursor.take_uleb128(), kAddressSize)
            .value_or(0);
    };
    while (steps.charge() && !cursor.failed()) {
        std::uint64_t begin = 0;
        std::uint64_t end = 0;
        switch (cursor.take<std::uint8_t>()) {
            case modules::dwarf::kRangeBaseAddressX:
                base = indexed();
                continue;
            case modules::dwarf::kRangeBaseAddress:
                base = cursor.take<std::uint64_t>();
                continue;
            case modules::dwarf::kRangeStartXEndX:
                begin = indexed();
                end = indexed();
                break;
            case modules::dwarf::kRangeStartXLength:
                begin = indexed();
                end = begin + cursor.take_uleb128();
                break;
            case modules::dwarf::kRangeOffsetPair:
                begin = base + cursor.take_uleb128();
                end = base + cursor.take_uleb128();
                break;
            case modules::dwarf::kRangeStartEnd:
                begin = cursor.take<std::uint64_t>();
                end = cursor.take<std::uint64_t>();
                break;
            case modules::dwarf::kRangeStartLength:
                begin = cursor.take<std::uint64_t>();
                end = begin + cursor.take_uleb128();
                break;
            case modules::dwarf::kRangeEnd:
            default:
                return;
        }
        if (cursor.failed() || !visit(begin, end)) return;
    }
}

std::vector<DwarfFile::Range> DwarfFile::ranges(const DwarfEntry& entry) const {
    std::vector<Range> found;
    for_each_range(entry, [&](std::uint64_t begin, std::uint64_t end) {
        if (!limits_->charge_bytes(2 * sizeof(Range))) return false;
        found.push_back({begin, end});
        return true;
    });
    return found;
}

bool DwarfFile::contains(const DwarfEntry& entry, std::uint64_t address) const {
    bool found = false;
    for_each_range(entry, [&](std::uint64_t begin, std::uint64_t end) {
        found = begin <= address && address < end;
        return !found;
    });
    return found;
}

}  // namespace pystack::symbols
