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

TEST_CASE("ids at the edge of their range stay apart") {
    StackTable stacks;
    const StackId one = stacks.push(0, 0xffffffff);
    const StackId two = stacks.push(0, 0);
    CHECK(one != two);
    CHECK(stacks.push(0, 0xffffffff) == one);
}
