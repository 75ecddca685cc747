#include "symbols/line_table.h"

#include <algorithm>
#include <iterator>
#include <limits>
#include <span>
#include <utility>

#include "modules/dwarf_constants.h"

namespace pystack::symbols {

namespace {

/// Of a folder, and of a file in it: PATH_MAX.
constexpr std::size_t kMaxPath = 4096;

}  // namespace

LineTable::LineTable(const DwarfFile& file, const DwarfUnit& unit) : dwarf_(file), unit_(unit) {
    if (!unit.lines) return;
    modules::ByteCursor cursor(file.lines(), *unit.lines);
    modules::ByteCursor program({});
    Header header;
    if (!read_header(cursor, program, header)) return;
    run(program, header);
    std::ranges::stable_sort(rows_, [](const Row& a, const Row& b) {
        // The end of a piece goes before the beginning of the next one at the same address.
        return std::pair(a.address, !a.is_end) < std::pair(b.address, !b.is_end);
    });
}

/// `program` becomes what follows the header.
bool LineTable::read_header(modules::ByteCursor& cursor, modules::ByteCursor& program,
                            Header& header) {
    constexpr std::uint32_t kLongLength = 0xffffffff;
    std::uint64_t length = cursor.take<std::uint32_t>();
    if (length == kLongLength) {
        header.sizes.offset_size = 8;
        length = cursor.take<std::uint64_t>();
    }
    if (cursor.failed()) return false;
    modules::ByteCursor unit(cursor.take_bytes(std::min(length, cursor.left())));
    header.sizes.version = unit.take<std::uint16_t>();
    if (header.sizes.version < 2 || header.sizes.version > 5) return false;
    if (header.sizes.version >= 5) unit.skip(2);  // Sizes of addresses and segment selectors.
    const std::uint64_t header_length = unit.take_number(header.sizes.offset_size);
    modules::ByteCursor rest(unit.take_bytes(header_length));
    program = modules::ByteCursor(unit.take_bytes(unit.left()));
    if (unit.failed()) return false;

    header.instruction_size = rest.take<std::uint8_t>();
    if (header.sizes.version >= 4) rest.skip(1);  // Operations of a long instruction word.
    rest.skip(1);                                 // Whether rows begin as statements.
    header.line_base = rest.take<std::int8_t>();
    header.line_range = rest.take<std::uint8_t>();
    header.opcode_base = rest.take<std::uint8_t>();
    if (header.opcode_base == 0 || header.line_range == 0) return false;
    header.operand_counts = rest.take_bytes(header.opcode_base - 1U);
    if (rest.failed()) return false;
    if (header.sizes.version < 5) return read_old_files(rest);
    return read_listed(rest, header.sizes,
                       [&](const File& entry) { folders_.push_back(entry.name); }) &&
           read_listed(rest, header.sizes, [&](const File& entry) { files_.push_back(entry); });
}

/// Up to version 4: numbers begin with 1.
bool LineTable::read_old_files(modules::ByteCursor& cursor) {
    constexpr std::uint64_t kKept = 2 * sizeof(File);
    folders_.push_back(unit_.folder);
    files_.push_back({});
    while (dwarf_.limits().charge_bytes(kKept) && dwarf_.limits().charge_steps()) {
        const auto folder = cursor.take_text();
        if (cursor.failed()) return false;
        if (folder.empty()) break;
        folders_.push_back(folder);
    }
    while (dwarf_.limits().charge_bytes(kKept) && dwarf_.limits().charge_steps()) {
        const auto name = cursor.take_text();
        if (name.empty()) break;
        const std::uint64_t folder = cursor.take_uleb128();
        cursor.take_uleb128();  // Time of change.
        cursor.take_uleb128();  // Size.
        files_.push_back({name, folder});
    }
    return !cursor.failed();
}

/// Version 5: a list that says itself what it says of each entry.
template <class Add>
bool LineTable::read_listed(modules::ByteCursor& cursor, FormSizes sizes, Add add) {
    std::vector<std::pair<std::uint64_t, std::uint16_t>> layout;
    for (unsigned count = cursor.take<std::uint8_t>(); count > 0; --count) {
        const std::uint64_t content = cursor.take_uleb128();
        const std::uint64_t form = cursor.take_uleb128();
        if (form > std::numeric_limits<std::uint16_t>::max()) return false;
        layout.emplace_back(content, static_cast<std::uint16_t>(form));
    }
    const std::uint64_t count = cursor.take_uleb128();
    for (std::uint64_t i = 0; i < count; ++i) {
        if (!dwarf_.limits().charge_bytes(2 * sizeof(File)) ||
            !dwarf_.limits().charge_steps(1 + layout.size())) {
            return false;
        }
        File entry;
        for (const auto& [content, form] : layout) {
            const FormValue value = take_value(cursor, form, 0, sizes);
            if (content == modules::dwarf::kContentPath) entry.name = dwarf_.text(unit_, value);
            if (content == modules::dwarf::kContentFolderIndex) entry.folder = value.number;
        }
        if (cursor.failed()) return false;
        add(entry);
    }
    return true;
}

bool LineTable::add(const Row& row) {
    if (!dwarf_.limits().charge_bytes(2 * sizeof row)) return false;
    rows_.push_back(row);
    return true;
}

void LineTable::run(modules::ByteCursor& program, const Header& header) {
    const Row first{.address = 0, .file = 1, .line = 1};
    Row row = first;
    StepBatch steps(dwarf_.limits());
    const auto advance = [&](std::uint64_t instructions) {
        row.address += instructions * header.instruction_size;
    };
    const auto advance_line = [&](std::int64_t lines) {
        row.line = static_cast<std::uint32_t>(row.line + static_cast<std::uint64_t>(lines));
    };
    const auto advance_special = [&](unsigned opcode) {
        advance((opcode - header.opcode_base) / header.line_range);
    };
    while (program.left() > 0 && steps.charge()) {
        const auto opcode = program.take<std::uint8_t>();
        if (opcode >= header.opcode_base) {
            advance_special(opcode);
            advance_line(header.line_base + (opcode - header.opcode_base) % header.line_range);
            if (!add(row)) return;
            continue;
        }
        switch (opcode) {
            case modules::dwarf::kLineExtended: {
                modules::ByteCursor operands(program.take_bytes(program.take_uleb128()));
                const auto extended = operands.take<std::uint8_t>();
                if (extended == modules::dwarf::kLineEndSequence) {
                    row.is_end = true;
                    if (!add(row)) return;
                    row = first;
                } else if (extended == modules::dwarf::kLineSetAddress) {
                    row.address = operands.take<std::uint64_t>();
                }
                break;
            }
            case modules::dwarf::kLineCopy:
                if (!add(row)) return;
                break;
            case modules::dwarf::kLineAdvancePc:
                advance(program.take_uleb128());
                break;
            case modules::dwarf::kLineAdvanceLine:
                advance_line(program.take_sleb128());
                break;
            case modules::dwarf::kLineSetFile:
                row.file = static_cast<std::uint32_t>(program.take_uleb128());
                break;
            case modules::dwarf::kLineConstAddPc:
                advance_special(255);
                break;
            case modules::dwarf::kLineFixedAdvancePc:
                row.address += program.take<std::uint16_t>();
                break;
            default:
                // The others change nothing of what is kept; new ones say how to skip them.
                for (auto count = std::to_integer<unsigned>(header.operand_counts[opcode - 1U]);
                     count > 0; --count) {
                    program.take_uleb128();
                }
                break;
        }
        if (program.failed()) return;
    }
}

LineTable::Place LineTable::find(std::uint64_t address) const {
    const auto after = std::ranges::upper_bound(rows_, address, {}, &Row::address);
    if (after == rows_.begin() || std::prev(after)->is_end) return {};
    constexpr std::uint32_t kMaxLine = std::numeric_limits<std::int32_t>::max();
    const Row& row = *std::prev(after);
    return {file(row.file), row.line <= kMaxLine ? row.line : 0};
}

std::string LineTable::file(std::uint64_t number) const {
    if (number >= files_.size() || files_[number].name.empty()) return {};
    const File& entry = files_[number];
    std::string_view folder;
    if (entry.folder < folders_.size()) folder = folders_[entry.folder];
    if (folder.size() > kMaxPath || entry.name.size() > kMaxPath) return {};
    if (folder.empty() || entry.name.starts_with('/')) return std::string(entry.name);
    return std::string(folder).append("/").append(entry.name);
}

}  // namespace pystack::symbols
