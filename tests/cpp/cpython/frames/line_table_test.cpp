#include "cpython/frames/line_table.h"

#include <doctest/doctest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <limits>
#include <random>
#include <sstream>
#include <string>
#include <vector>

using pystack::cpython::LineTableFormat;
using pystack::cpython::position_at;
using pystack::model::SourcePosition;

namespace {

constexpr std::int64_t kCodeUnitBytes = 2;

SourcePosition line_only(std::int32_t line, std::optional<std::int32_t> end_line = std::nullopt) {
    return {line, end_line, std::nullopt, std::nullopt};
}

std::vector<std::byte> bytes_of(std::initializer_list<int> values) {
    std::vector<std::byte> bytes;
    for (const int value : values) bytes.push_back(static_cast<std::byte>(value));
    return bytes;
}

// Records of tools/record_line_tables.py; PYSTACK_LINE_TABLE_RECORDS names a folder with more of
// them.
std::filesystem::path records_folder() {
    if (const char* folder = std::getenv("PYSTACK_LINE_TABLE_RECORDS")) return folder;
    return std::filesystem::path(PYSTACK_FIXTURES) / "line_tables";
}

LineTableFormat parse_format(const std::string& name) {
    if (name == "kLnotab") return LineTableFormat::kLnotab;
    if (name == "kLineTable310") return LineTableFormat::kLineTable310;
    REQUIRE(name == "kLocations311");
    return LineTableFormat::kLocations311;
}

std::vector<std::byte> parse_hex(const std::string& hex) {
    std::vector<std::byte> bytes;
    if (hex == "-") return bytes;
    for (std::size_t i = 0; i + 1 < hex.size(); i += 2) {
        bytes.push_back(static_cast<std::byte>(std::stoi(hex.substr(i, 2), nullptr, 16)));
    }
    return bytes;
}

std::optional<std::int32_t> parse_number(const std::string& text) {
    if (text == "-") return std::nullopt;
    return std::stoi(text);
}

std::string describe(const SourcePosition& position) {
    std::string text;
    for (const auto& value :
         {position.line, position.end_line, position.column, position.end_column}) {
        text += value ? std::to_string(*value) + " " : "- ";
    }
    return text;
}

struct Tally {
    std::size_t tables = 0;
    std::size_t positions = 0;
    std::size_t differences = 0;
};

void check_records(const std::filesystem::path& file, Tally& tally) {
    std::ifstream stream(file);
    std::string line;
    LineTableFormat format{};
    std::vector<std::byte> table;
    std::int32_t first_line = 0;
    std::int64_t offset = 0;
    while (std::getline(stream, line)) {
        std::istringstream words(line);
        std::string head;
        words >> head;
        if (head == "table") {
            std::string name;
            std::string hex;
            words >> name >> first_line >> hex;
            format = parse_format(name);
            table = parse_hex(hex);
            offset = 0;
            ++tally.tables;
            continue;
        }
        std::string value[4];
        words >> value[0] >> value[1] >> value[2] >> value[3];
        const SourcePosition expected{parse_number(value[0]), parse_number(value[1]),
                                      parse_number(value[2]), parse_number(value[3])};
        for (const std::int64_t end = offset + std::stoll(head) * kCodeUnitBytes; offset < end;
             offset += kCodeUnitBytes) {
            ++tally.positions;
            const SourcePosition found = position_at(format, table, first_line, offset);
            if (found == expected) continue;
            if (++tally.differences > 10) continue;
            FAIL_CHECK(file.string(), ": first line ", first_line, ", offset ", offset,
                       ": expected ", describe(expected), "found ", describe(found));
        }
    }
}

}  // namespace

TEST_CASE("positions equal those of the interpreters") {
    std::size_t files = 0;
    for (const auto& entry : std::filesystem::directory_iterator(records_folder())) {
        if (entry.path().extension() != ".txt") continue;
        Tally tally;
        check_records(entry.path(), tally);
        INFO(entry.path().filename().string(), ": ", tally.tables, " tables, ", tally.positions,
             " positions");
        CHECK(tally.tables >= 25);
        CHECK(tally.differences == 0);
        ++files;
    }
    CHECK(files >= 1);
}

TEST_CASE("an instruction that has not started is on the first line") {
    for (const auto format : {LineTableFormat::kLnotab, LineTableFormat::kLineTable310,
                              LineTableFormat::kLocations311}) {
        CHECK(position_at(format, bytes_of({2, 1}), 7, -1) == line_only(7));
    }
}

TEST_CASE("behind the end of the table") {
    // co_lnotab does not tell how long the code is: its last line goes on.
    CHECK(position_at(LineTableFormat::kLnotab, bytes_of({2, 1}), 7, 1000).line == 8);
    CHECK(position_at(LineTableFormat::kLnotab, {}, 7, 1000).line == 7);
    CHECK(position_at(LineTableFormat::kLineTable310, bytes_of({2, 1}), 7, 2) == SourcePosition{});
    CHECK(position_at(LineTableFormat::kLocations311, bytes_of({0x80, 0}), 7, 2) ==
          SourcePosition{});
    CHECK(position_at(LineTableFormat::kLocations311, {}, 7, 0) == SourcePosition{});
}

TEST_CASE("signed line deltas and ranges without a line") {
    CHECK(position_at(LineTableFormat::kLnotab, bytes_of({2, 5, 2, 0xfd}), 10, 4).line == 12);
    const auto table = bytes_of({2, 1, 2, 0x80, 2, 1});
    CHECK(position_at(LineTableFormat::kLineTable310, table, 10, 0).line == 11);
    CHECK_FALSE(position_at(LineTableFormat::kLineTable310, table, 10, 2).line);
    CHECK(position_at(LineTableFormat::kLineTable310, table, 10, 4).line == 12);
}

TEST_CASE("every code of the location table") {
    const auto at = [](std::initializer_list<int> table, std::int64_t offset = 0) {
        return position_at(LineTableFormat::kLocations311, bytes_of(table), 10, offset);
    };
    CHECK(at({0x80 | (9 << 3), 0x7f}) == SourcePosition{10, 10, 79, 94});
    CHECK(at({0x80 | (10 << 3), 1, 2}) == SourcePosition{10, 10, 1, 2});
    CHECK(at({0x80 | (12 << 3), 100, 127}) == SourcePosition{12, 12, 100, 127});
    CHECK(at({0x80 | (13 << 3), 0x05}) == line_only(8, 8));
    CHECK(at({0x80 | (14 << 3), 0x02, 0x03, 0x01, 0x48, 0x02}) == SourcePosition{11, 14, 0, 135});
    CHECK(at({0x80 | (14 << 3), 0x02, 0x00, 0x00, 0x00}) == line_only(11, 11));
    CHECK(at({0x80 | (15 << 3)}) == SourcePosition{});
    // Eight units of one entry, then the next.
    CHECK(at({0x87 | (13 << 3), 0x02, 0x80 | (13 << 3), 0x02}, 14).line == 11);
    CHECK(at({0x87 | (13 << 3), 0x02, 0x80 | (13 << 3), 0x02}, 16).line == 12);
}

TEST_CASE("cut and hostile tables are only wrong, never dangerous") {
    // A varint without an end, an entry without its data, a line beyond 32 bits, a negative one.
    std::vector<std::byte> endless(1000, std::byte{0x7f});
    endless[0] = static_cast<std::byte>(0x80 | (14 << 3));
    position_at(LineTableFormat::kLocations311, endless, 1, 0);
    for (int code = 0; code < 16; ++code) {
        position_at(LineTableFormat::kLocations311, bytes_of({0x80 | (code << 3)}), 1, 0);
    }
    constexpr auto kLastLine = std::numeric_limits<std::int32_t>::max();
    CHECK_FALSE(position_at(LineTableFormat::kLnotab, bytes_of({0, 1}), kLastLine, 0).line);
    CHECK_FALSE(position_at(LineTableFormat::kLnotab, bytes_of({0, 0xff}), 0, 0).line);
    CHECK(position_at(LineTableFormat::kLnotab, bytes_of({0}), 5, 0).line == 5);

    // Exactly sized heap blocks, so that the sanitizer sees a read past the end.
    const char* rounds = std::getenv("PYSTACK_FUZZ_ROUNDS");
    std::mt19937_64 random(1);
    for (int round = rounds != nullptr ? std::atoi(rounds) : 10000; round > 0; --round) {
        std::vector<std::byte> table(random() % 64);
        for (std::byte& byte : table) byte = static_cast<std::byte>(random());
        const auto first_line = static_cast<std::int32_t>(random());
        for (const std::int64_t offset :
             {std::int64_t{0}, static_cast<std::int64_t>(random() % 512),
              static_cast<std::int64_t>(random()), std::numeric_limits<std::int64_t>::max()}) {
            position_at(LineTableFormat::kLnotab, table, first_line, offset);
            position_at(LineTableFormat::kLineTable310, table, first_line, offset);
            position_at(LineTableFormat::kLocations311, table, first_line, offset);
        }
    }
}
