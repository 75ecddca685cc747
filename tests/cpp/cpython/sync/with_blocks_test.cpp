#include "cpython/sync/with_blocks.h"

#include <doctest/doctest.h>

#include <random>

using namespace pystack::cpython;

namespace {

using Slots = std::vector<std::uint32_t>;

struct Entry {
    std::uint32_t begin;
    std::uint32_t end;
    std::uint32_t target;
    std::uint32_t depth;
    bool lasti;
};

void append_number(std::vector<std::byte>& table, std::uint32_t value, std::uint32_t mark = 0) {
    std::vector<std::uint32_t> digits{value & 0x3F};
    while ((value >>= 6) != 0) digits.push_back(value & 0x3F);
    for (std::size_t i = digits.size(); i > 0; --i) {
        const std::uint32_t more = i > 1 ? 0x40 : 0;
        table.push_back(std::byte(digits[i - 1] | more | (i == digits.size() ? mark : 0)));
    }
}

std::vector<std::byte> table_of(const std::vector<Entry>& entries) {
    std::vector<std::byte> table;
    for (const Entry& entry : entries) {
        append_number(table, entry.begin, 0x80);
        append_number(table, entry.end - entry.begin);
        append_number(table, entry.target);
        append_number(table, entry.depth << 1 | (entry.lasti ? 1 : 0));
    }
    return table;
}

/// with L: try: with R: inner() finally: x(), as 3.11 compiles it; in units.
const std::vector<Entry> kNested = {
    {3, 4, 93, 1, true},    {5, 7, 60, 1, false},   {7, 22, 34, 2, true},  {22, 34, 60, 1, false},
    {34, 38, 38, 4, true},  {38, 41, 60, 1, false}, {41, 42, 38, 4, true}, {42, 45, 60, 1, false},
    {45, 60, 93, 1, true},  {60, 76, 76, 2, true},  {76, 79, 93, 1, true}, {93, 97, 97, 3, true},
    {100, 101, 97, 3, true}};

bool is_with_handler(std::uint32_t unit) {
    return unit == 34 || unit == 93;
}

}  // namespace

TEST_CASE("slots of the with blocks that an instruction is inside of") {
    const auto table = table_of(kNested);
    CHECK(has_with_blocks(table, is_with_handler));
    CHECK_FALSE(has_with_blocks(table, [](std::uint32_t) { return false; }));
    const auto slots = [&](std::uint32_t unit) { return with_slots(table, unit, is_with_handler); };
    CHECK(slots(2) == Slots{});       // __enter__ of the outer one is being called.
    CHECK(slots(3) == Slots{0});      // It has returned.
    CHECK(slots(6) == Slots{0});      // __enter__ of the inner one.
    CHECK(slots(15) == Slots{1, 0});  // inner()
    CHECK(slots(30) == Slots{0});     // __exit__ of the inner one, without an exception.
    CHECK(slots(35) == Slots{0});     // With an exception.
    CHECK(slots(50) == Slots{0});     // x()
    CHECK(slots(62) == Slots{0});     // x() after an exception.
    CHECK(slots(85) == Slots{});      // __exit__ of the outer one.
    CHECK(slots(94) == Slots{});
    CHECK(slots(1000) == Slots{});
}

TEST_CASE("damaged tables of handlers come to an end") {
    std::mt19937 random(7);
    for (int round = 0; round < 20'000; ++round) {
        auto table = table_of(kNested);
        for (int i = 0; i < 4; ++i) table[random() % table.size()] = std::byte(random() % 256);
        table.resize(random() % (table.size() + 1));
        const auto found = with_slots(table, random() % 128, [](std::uint32_t) { return true; });
        CHECK(found.size() <= 128);
    }
    // A ring of handlers.
    const auto ring = table_of({{0, 5, 7, 1, true}, {5, 9, 2, 2, true}});
    CHECK(with_slots(ring, 0, [](std::uint32_t) { return true; }) == Slots{0, 1});
}

TEST_CASE("below 3.11 the frame has a stack of blocks") {
    constexpr std::int32_t kSetupFinally = 122;
    constexpr std::int32_t kExceptHandler = 257;
    const auto is_with = [](std::uint32_t place) { return place == 84; };
    const TryBlock blocks[] = {{kSetupFinally, 84, 1},
                               {kSetupFinally, 60, 1},
                               {kExceptHandler, -1, 1},
                               {kSetupFinally, 84, 9},
                               {kSetupFinally, 84, 0}};
    CHECK(with_slots(std::span(blocks), is_with) == Slots{8, 0});
    CHECK(with_slots(std::span(blocks).first(3), is_with) == Slots{0});
    CHECK(with_slots(std::span<const TryBlock>(), is_with).empty());
}
