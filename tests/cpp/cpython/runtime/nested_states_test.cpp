#include "cpython/runtime/nested_states.h"

#include <doctest/doctest.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "support/fake_interpreter.h"

using namespace pystack;
using namespace pystack::cpython;
using pystack::testing::FakeInterpreter;
using pystack::testing::for_each_version;
using pystack::testing::layout_of;

namespace {

constexpr RemoteAddr kState{0x900000};

RawFrame frame(std::uint64_t address, bool shim = false) {
    return {.address = {address}, .shim = shim};
}

std::vector<std::size_t> sorted(std::vector<NestedState> states, bool is_known) {
    CHECK(sort_innermost_first(states) == is_known);
    std::vector<std::size_t> order;
    for (const NestedState& one : states) order.push_back(one.state);
    return order;
}

using Order = std::vector<std::size_t>;

}  // namespace

TEST_CASE("the innermost trace on the C stack tells where a thread state runs") {
    for_each_version([](const FakeInterpreter& fake) {
        const Layout& layout = fake.layout;
        const std::vector frames{frame(0x100), frame(0x7000, true), frame(0x200),
                                 frame(0x8000, true)};
        const auto place = place_on_c_stack(layout, kState, frames, {0x6000});
        switch (layout.entry_mark) {
            case EntryMark::kNone:
                CHECK(!place);
                break;
            case EntryMark::kIsEntry:
                CHECK(place == RemoteAddr{0x6000});
                break;
            case EntryMark::kOwner:
                CHECK(place == RemoteAddr{0x7000});
                break;
        }
        CHECK(!place_on_c_stack(layout, kState, {}, {0x6000}));
    });
}

TEST_CASE("a shim inside of the thread state is on no stack") {
    const Layout layout = layout_of(15);
    const std::vector frames{frame(0x100), frame((kState + 64).value, true)};
    CHECK(!place_on_c_stack(layout, kState, frames, {}));
}

TEST_CASE("an address belongs to the stack below the next thread structure") {
    CStacks stacks;
    stacks.add({0x7000'0000}, 1, false);
    stacks.add({0x7800'0000}, 2, false);
    stacks.add({0x7f00'0000}, 0, true);
    CHECK(stacks.find({0x6fff'0000}) == 1);
    CHECK(stacks.find({0x7000'0000}) == 2);
    CHECK(stacks.find({0x77ff'ffff}) == 2);
    CHECK(stacks.find({0x7f00'0001}) == 0);
    CHECK(!stacks.find({0x1000'0000}));
    CHECK(!stacks.find({0x7800'0001}));
}

TEST_CASE("states are sorted by their places on the C stack") {
    CHECK(sorted({{.state = 0, .runs_python = true, .place = RemoteAddr{0x30}},
                  {.state = 1, .runs_python = true, .place = RemoteAddr{0x10}, .interpreter_id = 1},
                  {.state = 2, .runs_python = false, .interpreter_id = 3},
                  {.state = 3, .runs_python = true, .place = RemoteAddr{0x20}, .holds_gil = true}},
                 true) == Order{1, 3, 0, 2});
}

TEST_CASE("without places the holder of the GIL is the innermost") {
    CHECK(sorted({{.state = 0, .runs_python = true, .holds_gil = true},
                  {.state = 1, .runs_python = true, .interpreter_id = 1}},
                 true) == Order{0, 1});
    CHECK(sorted({{.state = 0, .runs_python = true},
                  {.state = 1, .runs_python = true, .interpreter_id = 1}},
                 false) == Order{1, 0});
    CHECK(sorted({{.state = 0, .runs_python = true},
                  {.state = 1, .runs_python = false, .interpreter_id = 1}},
                 true) == Order{0, 1});
    CHECK(sorted({{.state = 0, .runs_python = true},
                  {.state = 1, .runs_python = true, .interpreter_id = 1},
                  {.state = 2, .runs_python = true, .holds_gil = true, .interpreter_id = 2}},
                 false) == Order{2, 1, 0});
}
