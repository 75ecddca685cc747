#include "modules/frame_section.h"

#include <algorithm>
#include <iterator>
#include <limits>
#include <string_view>

#include "base/step_batch.h"
#include "modules/dwarf_constants.h"

namespace pystack::modules {

namespace {

constexpr std::uint64_t kNone = std::numeric_limits<std::uint64_t>::max();

}  // namespace

std::optional<std::uint64_t> take_encoded(ByteCursor& cursor, std::uint8_t encoding,
                                          std::uint64_t place, std::uint64_t data_base) {
    using namespace dwarf;
    place += cursor.position();
    std::uint64_t value = 0;
    switch (encoding & kPointerFormat) {
        case kPointerAbsolute:
        case kPointerUData8:
        case kPointerSData8:
            value = cursor.take<std::uint64_t>();
            break;
        case kPointerUData2:
            value = cursor.take<std::uint16_t>();
            break;
        case kPointerUData4:
            value = cursor.take<std::uint32_t>();
            break;
        case kPointerSData2:
            value = static_cast<std::uint64_t>(std::int64_t{cursor.take<std::int16_t>()});
            break;
        case kPointerSData4:
            value = static_cast<std::uint64_t>(std::int64_t{cursor.take<std::int32_t>()});
            break;
        default:
            return std::nullopt;
    }
    if (cursor.failed()) return std::nullopt;
    switch (encoding & kPointerBase) {
        case kPointerAbsolute:
            return value;
        case kPointerPcRelative:
            return value + place;
        case kPointerDataRelative:
            return value + data_base;
        default:
            return std::nullopt;
    }
}

std::optional<FrameSection::Header> FrameSection::header(std::uint64_t offset) const {
    constexpr std::uint32_t kLongLength = 0xffffffff;
    ByteCursor cursor(bytes_, offset);
    std::uint64_t length = cursor.take<std::uint32_t>();
    const bool is_long = length == kLongLength;
    if (is_long) length = cursor.take<std::uint64_t>();
    if (cursor.failed() || length == 0 || length > cursor.left()) return std::nullopt;
    Header found{.end = cursor.position() + length};
    const std::uint64_t place = cursor.position();
    if (kind_ == Kind::kEhFrame) {
        // Zero, or the distance back.
        const auto distance = cursor.take<std::uint32_t>();
        if (distance > place) return std::nullopt;
        found.shared = distance == 0 ? kNone : place - distance;
    } else {
        found.shared = cursor.take_number(is_long ? 8 : 4);
        if (found.shared == (is_long ? kNone : kLongLength)) found.shared = kNone;
    }
    found.contents = cursor.position();
    if (cursor.failed() || found.contents > found.end) return std::nullopt;
    return found;
}

/// `has_data` becomes whether the entry begins with augmentation data of its own.
bool FrameSection::read_shared(std::uint64_t offset, FrameEntry& entry, bool& has_data) const {
    const auto found = header(offset);
    if (!found || found->shared != kNone) return false;
    ByteCursor cursor(bytes_.first(found->end), found->contents);
    const auto version = cursor.take<std::uint8_t>();
    const std::string_view augmentation = cursor.take_text();
    if (version != 1 && version != 3 && version != 4) return false;
    if (version == 4) {
        const auto address_size = cursor.take<std::uint8_t>();
        const auto selector_size = cursor.take<std::uint8_t>();
        if (address_size != sizeof(std::uint64_t) || selector_size != 0) return false;
    }
    entry.code_unit = cursor.take_uleb128();
    entry.data_unit = cursor.take_sleb128();
    entry.return_register = version == 1 ? cursor.take<std::uint8_t>() : cursor.take_uleb128();
    has_data = augmentation.starts_with('z');
    if (!has_data && !augmentation.empty()) return false;
    if (has_data) {
        const std::uint64_t size = cursor.take_uleb128();
        const std::uint64_t begin = cursor.position();
        // Those behind an unknown letter cannot be told apart, but skipped.
        for (const char letter : augmentation.substr(1)) {
            if (letter == 'R') {
                entry.encoding = cursor.take<std::uint8_t>();
            } else if (letter == 'P') {
                const auto encoding = cursor.take<std::uint8_t>();
                if (!take_encoded(cursor, encoding & dwarf::kPointerFormat, 0, 0)) return false;
            } else if (letter == 'L') {
                cursor.skip(1);
            } else if (letter == 'S') {
                entry.is_signal_frame = true;
            } else {
                break;
            }
        }
        if (cursor.failed()) return false;
        cursor = ByteCursor(bytes_.first(found->end), begin);
        cursor.skip(size);
    }
    entry.first_instructions = cursor.take_bytes(cursor.left());
    return !cursor.failed();
}

std::optional<FrameEntry> FrameSection::entry(std::uint64_t offset) const {
    const auto found = header(offset);
    if (!found || found->shared == kNone) return std::nullopt;
    FrameEntry entry;
    bool has_data = false;
    if (!read_shared(found->shared, entry, has_data)) return std::nullopt;
    ByteCursor cursor(bytes_.first(found->end), found->contents);
    const auto begin = take_encoded(cursor, entry.encoding, address_, 0);
    const auto size = take_encoded(cursor, entry.encoding & dwarf::kPointerFormat, 0, 0);
    if (!begin || !size || *size > kNone - *begin) return std::nullopt;
    entry.begin = *begin;
    entry.end = *begin + *size;
    if (has_data) cursor.skip(cursor.take_uleb128());
    entry.instructions_address = address_ + cursor.position();
    entry.instructions = cursor.take_bytes(cursor.left());
    return cursor.failed() ? std::nullopt : std::optional(entry);
}

void FrameSection::read_all(WorkLimits& limits) {
    places_.emplace();
    StepBatch steps(limits);
    std::uint64_t offset = 0;
    while (steps.charge()) {
        const auto next = header(offset);
        if (!next) break;
        if (const auto read = next->shared != kNone ? entry(offset) : std::nullopt;
            read && read->begin < read->end) {
            if (!limits.charge_bytes(2 * sizeof(Place))) break;
            places_->push_back({read->begin, offset});
        }
        offset = next->end;
    }
    std::ranges::stable_sort(*places_, {}, &Place::begin);
}

std::optional<FrameEntry> FrameSection::find(std::uint64_t address, WorkLimits& limits) {
    if (!places_) read_all(limits);
    const auto after = std::ranges::upper_bound(*places_, address, {}, &Place::begin);
    if (after == places_->begin()) return std::nullopt;
    auto found = entry(std::prev(after)->offset);
    return found && found->contains(address) ? found : std::nullopt;
}

}  // namespace pystack::modules
