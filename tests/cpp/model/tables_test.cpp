#include "model/tables.h"

#include <doctest/doctest.h>

#include <string>

using namespace pystack::model;

TEST_CASE("equal strings have equal ids, and ids are positions") {
    StringTable strings;
    CHECK(strings.intern("") == 0);
    const StringId a = strings.intern("a");
    const StringId b = strings.intern(std::string_view("b\0c", 3));
    CHECK(a == 1);
    CHECK(b == 2);
    CHECK(strings.intern(std::string("a")) == a);
    CHECK(strings.intern("b") == 3);
    CHECK(strings.rows()[b] == std::string("b\0c", 3));
    CHECK(strings.rows().size() == 4);
    for (int i = 0; i < 10'000; ++i) strings.intern(std::to_string(i));
    CHECK(strings.intern("a") == a);
    CHECK(strings.rows()[a] == "a");
}

TEST_CASE("a stack is its callers and one frame, callers first") {
    StackTable stacks;
    CHECK(stacks.rows().size() == 1);
    const StackId outer = stacks.push(0, 5);
    const StackId inner = stacks.push(outer, 6);
    CHECK(outer == 1);
    CHECK(inner == 2);
    CHECK(stacks.push(outer, 6) == inner);
    CHECK(stacks.push(0, 6) == 3);
    CHECK(stacks.push(inner, 6) == 4);  // Recursion: the same frame, another stack.
    CHECK(stacks.rows()[inner] == StackTable::Row{outer, 6});
    for (StackId id = 1; id < stacks.rows().size(); ++id) CHECK(stacks.rows()[id].parent < id);
}

TEST_CASE("equal waits have equal ids") {
    WaitTable waits;
    CHECK(waits.rows().size() == 1);
    const WaitRow lock{.kind = WaitKind::kLock, .type = 1, .name = 2, .holder = 3};
    CHECK_FALSE(waits.find(lock));
    CHECK(waits.add(lock) == 1);
    CHECK(waits.find(lock) == 1);
    WaitRow other = lock;
    other.holder = 0;
    CHECK_FALSE(waits.find(other));
    CHECK(waits.add(other) == 2);
    CHECK(waits.rows()[2] == other);
}

TEST_CASE("ids at the edge of their range stay apart") {
    StackTable stacks;
    const StackId one = stacks.push(0, 0xffffffff);
    const StackId two = stacks.push(0, 0);
    CHECK(one != two);
    CHECK(stacks.push(0, 0xffffffff) == one);
}

TEST_CASE("a map of small numbers keeps what was put in first") {
    IdMap map;
    CHECK(map.find(0) == nullptr);
    CHECK(map.find_or_insert(0, 7) == 7);
    CHECK(map.find_or_insert(0, 8) == 7);
    CHECK(map.find_or_insert(~std::uint64_t{0}, 9) == 9);
    // Many, and such that differ in high bits only.
    for (std::uint64_t i = 1; i <= 10'000; ++i) {
        map.find_or_insert(i << 40, static_cast<std::uint32_t>(i));
    }
    CHECK(map.size() == 10'002);
    for (std::uint64_t i = 1; i <= 10'000; ++i) {
        const std::uint32_t* value = map.find(i << 40);
        REQUIRE(value != nullptr);
        CHECK(*value == i);
    }
    CHECK(map.find(5) == nullptr);
    *map.find(0) = 1;
    CHECK(map.find_or_insert(0, 2) == 1);
    map.clear();
    CHECK(map.find(0) == nullptr);
    CHECK(map.size() == 0);
}
