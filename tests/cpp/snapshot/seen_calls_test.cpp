#include "snapshot/seen_calls.h"

#include <doctest/doctest.h>

#include <utility>
#include <vector>

using namespace pystack;
using namespace pystack::snapshot;
using cpython::RawFrame;

namespace {

/// Frames of (code, instruction), innermost first.
std::vector<RawFrame> stack(const std::vector<std::pair<std::uint64_t, std::uint64_t>>& frames) {
    std::vector<RawFrame> made;
    for (const auto& [code, instruction] : frames)
        made.push_back({.code = {code}, .instruction = instruction});
    return made;
}

}  // namespace

TEST_CASE("a call is believed when it is seen for the second time") {
    SeenCalls calls;
    CHECK_FALSE(calls.confirm(stack({{1, 0}, {2, 4}, {3, 8}})));
    CHECK(calls.confirm(stack({{1, 0}, {2, 4}, {3, 8}})));
    // Where the innermost frame is does not matter: it calls nothing.
    CHECK(calls.confirm(stack({{1, 6}, {2, 4}, {3, 8}})));
    CHECK(calls.confirm(stack({{1, 0}, {2, 4}})));
}

TEST_CASE("another place in the caller, or another function called, is another call") {
    SeenCalls calls;
    calls.confirm(stack({{1, 0}, {2, 4}}));
    CHECK_FALSE(calls.confirm(stack({{1, 0}, {2, 6}})));
    CHECK_FALSE(calls.confirm(stack({{5, 0}, {2, 4}})));
    // What was seen before stays seen.
    CHECK(calls.confirm(stack({{1, 0}, {2, 4}})));
    CHECK(calls.confirm(stack({{1, 0}, {2, 6}})));
}

TEST_CASE("one new call among known ones keeps the stack from being believed") {
    SeenCalls calls;
    calls.confirm(stack({{1, 0}, {2, 4}, {3, 8}}));
    CHECK_FALSE(calls.confirm(stack({{1, 0}, {2, 4}, {4, 8}})));
    CHECK(calls.confirm(stack({{1, 0}, {2, 4}, {4, 8}})));
}

TEST_CASE("stacks without calls need no second look, and recursion is one call") {
    SeenCalls calls;
    CHECK(calls.confirm({}));
    CHECK(calls.confirm(stack({{1, 0}})));
    CHECK_FALSE(calls.confirm(stack({{1, 2}, {1, 2}, {1, 2}})));
    CHECK(calls.confirm(stack({{1, 2}, {1, 2}})));
    CHECK(calls.confirm(stack(std::vector<std::pair<std::uint64_t, std::uint64_t>>(500, {1, 2}))));
}
