#include "cpython/frames/line_table.h"

#include <limits>
#include <optional>

namespace pystack::cpython {

namespace {

using model::SourcePosition;

// sizeof(_Py_CODEUNIT): location entries count code units, the older tables count bytes.
constexpr std::int64_t kCodeUnitBytes = 2;

// No table of real code comes near these; they keep sums of hostile deltas far from overflow.
constexpr std::uint64_t kMaxVarint = std::uint64_t{1} << 32;

std::uint8_t byte_at(std::span<const std::byte> table, std::size_t index) {
    return std::to_integer<std::uint8_t>(table[index]);
}

std::optional<std::int32_t> as_line(std::int64_t line) {
    if (line < 0 || line > std::numeric_limits<std::int32_t>::max()) return std::nullopt;
    return static_cast<std::int32_t>(line);
}

// Columns are stored as in the code object: -1 for none.
std::optional<std::int32_t> as_column(std::int64_t column) {
    return as_line(column);
}

SourcePosition line_only(std::int64_t line) {
    SourcePosition position;
    position.line = as_line(line);
    return position;
}

// co_lnotab [Objects/lnotab_notes.txt]: pairs (bytes, lines) to advance by. Lines are signed
// since 3.6.
SourcePosition position_in_lnotab(std::span<const std::byte> table, std::int64_t first_line,
                                  std::int64_t offset) {
    std::int64_t line = first_line;
    std::int64_t start = 0;
    for (std::size_t i = 0; i + 1 < table.size(); i += 2) {
        start += byte_at(table, i);
        if (start > offset) break;
        line += static_cast<std::int8_t>(byte_at(table, i + 1));
    }
    return line_only(line);
}

// co_linetable of 3.10 [PEP 626]: pairs (length in bytes, line delta) of consecutive ranges. A
// range with the delta -128 has no line and leaves the running line alone.
SourcePosition position_in_line_table_310(std::span<const std::byte> table, std::int64_t first_line,
                                          std::int64_t offset) {
    constexpr std::int8_t kNoLine = -128;
    std::int64_t line = first_line;
    std::int64_t end = 0;
    for (std::size_t i = 0; i + 1 < table.size(); i += 2) {
        end += byte_at(table, i);
        const auto delta = static_cast<std::int8_t>(byte_at(table, i + 1));
        if (delta != kNoLine) line += delta;
        if (end > offset) return delta == kNoLine ? SourcePosition{} : line_only(line);
    }
    return {};
}

// The location table of 3.11+ [InternalDocs/code_objects.md]. Only the first byte of an entry has
// its high bit set, so an entry that is cut short ends where the next one starts.
class LocationReader {
  public:
    LocationReader(std::span<const std::byte> table, std::int64_t first_line)
        : table_(table), line_(first_line) {}

    SourcePosition find(std::int64_t offset) {
        std::int64_t end = 0;
        while (next_ < table_.size()) {
            const std::uint8_t head = byte_at(table_, next_++);
            end += ((head & 7) + 1) * kCodeUnitBytes;
            const SourcePosition position = read_entry((head >> 3) & 15);
            if (end > offset) return position;
            while (has_more()) ++next_;
        }
        return {};
    }

  private:
    enum Code : int { kOneLine0 = 10, kOneLine2 = 12, kNoColumns = 13, kLong = 14, kNone = 15 };

    bool has_more() const { return next_ < table_.size() && (byte_at(table_, next_) & 0x80) == 0; }

    std::uint8_t read_byte() { return has_more() ? byte_at(table_, next_++) : 0; }

    // Six bits a byte, low ones first; bit 6 says that more follow.
    std::int64_t read_varint() {
        std::uint64_t value = 0;
        unsigned shift = 0;
        while (has_more()) {
            const std::uint8_t byte = read_byte();
            if (shift < 36) value |= static_cast<std::uint64_t>(byte & 0x3f) << shift;
            shift += 6;
            if ((byte & 0x40) == 0) break;
        }
        return static_cast<std::int64_t>(value < kMaxVarint ? value : kMaxVarint);
    }

    // The sign is in the lowest bit.
    std::int64_t read_signed_varint() {
        const std::int64_t value = read_varint();
        return (value & 1) != 0 ? -(value >> 1) : value >> 1;
    }

    SourcePosition read_entry(int code) {
        std::int64_t lines = 0;
        std::int64_t column = -1;
        std::int64_t end_column = -1;
        switch (code) {
            case kNone:
                return {};
            case kNoColumns:
                line_ += read_signed_varint();
                break;
            case kLong:
                line_ += read_signed_varint();
                lines = read_varint();
                column = read_varint() - 1;
                end_column = read_varint() - 1;
                break;
            default:
                if (code >= kOneLine0 && code <= kOneLine2) {
                    line_ += code - kOneLine0;
                    column = read_byte();
                    end_column = read_byte();
                } else {
                    const std::uint8_t columns = read_byte();
                    column = (code << 3) | (columns >> 4);
                    end_column = column + (columns & 15);
                }
        }
        const auto line = as_line(line_);
        if (!line) return {};
        return {.line = line,
                .end_line = as_line(line_ + lines),
                .column = as_column(column),
                .end_column = as_column(end_column)};
    }

    std::span<const std::byte> table_;
    std::size_t next_ = 0;
    std::int64_t line_;
};

}  // namespace

SourcePosition position_at(LineTableFormat format, std::span<const std::byte> table,
                           std::int32_t first_line, std::int64_t instruction_offset_bytes) {
    if (instruction_offset_bytes < 0) return line_only(first_line);
    switch (format) {
        case LineTableFormat::kLnotab:
            return position_in_lnotab(table, first_line, instruction_offset_bytes);
        case LineTableFormat::kLineTable310:
            return position_in_line_table_310(table, first_line, instruction_offset_bytes);
        case LineTableFormat::kLocations311:
            return LocationReader(table, first_line).find(instruction_offset_bytes);
    }
    return {};
}

}  // namespace pystack::cpython
