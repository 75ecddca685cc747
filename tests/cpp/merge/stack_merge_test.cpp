#include "merge/stack_merge.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "cpython/layout/layout_table.h"
#include "merge/activations.h"
#include "support/fake_memory.h"

using namespace pystack;
using namespace pystack::merge;
using cpython::RawFrame;
using pystack::testing::FakeMemory;

namespace {

/// Frames of 0x100 bytes each, the innermost at 0x1000; `loops` says which are the loop by name.
std::vector<NativeActivation> natives(std::size_t count,
                                      const std::vector<std::size_t>& loops = {}) {
    std::vector<NativeActivation> activations;
    for (std::size_t i = 0; i < count; ++i) activations.push_back({.sp = {0x1000 + 0x100 * i}});
    for (const std::size_t i : loops) activations[i].is_loop = true;
    return activations;
}

/// An address in the n-th of them.
RemoteAddr in_frame(std::size_t n) {
    return {0x1000 + 0x100 * n + 0x40};
}

PythonSegment segment(std::size_t begin, std::size_t end, std::optional<RemoteAddr> anchor = {},
                      std::size_t thread = 0) {
    return {.thread = thread, .begin = begin, .end = end, .anchor = anchor};
}

/// "n0 p0 p1 [n1] gap": native, Python, the loop that runs the Python frames before it.
std::string text(const MergedStack& stack) {
    std::string words;
    for (const MergedFrame& frame : stack.frames) {
        if (!words.empty()) words += ' ';
        const std::string index = std::to_string(frame.index);
        switch (frame.kind) {
            case MergedFrame::Kind::kPython:
                words += "p" + index;
                if (frame.thread > 0) words += "@" + std::to_string(frame.thread);
                break;
            case MergedFrame::Kind::kNative:
                words += "n" + index;
                break;
            case MergedFrame::Kind::kLoop:
                words += "[n" + index + "]";
                break;
            case MergedFrame::Kind::kGap:
                words += "gap";
        }
    }
    return words;
}

std::string merge_all(const std::vector<NativeActivation>& natives, bool complete,
                      const std::vector<PythonSegment>& segments) {
    return text(merge_stacks(natives, complete, segments));
}

cpython::Layout layout_of(std::uint8_t minor) {
    return *cpython::static_layout({.major = 3, .minor = minor}, false, false,
                                   cpython::Architecture::kX86_64);
}

RawFrame raw(std::uint64_t address, bool shim = false, bool is_entry = false) {
    return {.address = {address}, .shim = shim, .is_entry = is_entry};
}

std::vector<std::pair<std::size_t, std::size_t>> bounds(
    const std::vector<PythonSegment>& segments) {
    std::vector<std::pair<std::size_t, std::size_t>> found;
    for (const PythonSegment& one : segments) found.emplace_back(one.begin, one.end);
    return found;
}

}  // namespace

TEST_CASE("Python frames stand before the native frame that holds their anchor") {
    CHECK(merge_all(natives(4), true, {segment(0, 2, in_frame(2))}) == "n0 n1 p0 p1 [n2] n3");
    CHECK(merge_all(natives(6), true, {segment(0, 1, in_frame(1)), segment(1, 3, in_frame(4))}) ==
          "n0 p0 [n1] n2 n3 p1 p2 [n4] n5");
    // Python calls nothing native.
    CHECK(merge_all(natives(2), true, {segment(0, 1, in_frame(0))}) == "p0 [n0] n1");
}

TEST_CASE("anchors at the very ends of a frame") {
    CHECK(merge_all(natives(3), true, {segment(0, 1, RemoteAddr{0x1100})}) == "n0 p0 [n1] n2");
    CHECK(merge_all(natives(3), true, {segment(0, 1, RemoteAddr{0x11ff})}) == "n0 p0 [n1] n2");
}

TEST_CASE("a frame that owns no stack does not take its caller's anchors") {
    auto stack = natives(3);
    stack[1].sp = stack[0].sp;  // A leaf without a frame, say.
    CHECK(merge_all(stack, true, {segment(0, 1, RemoteAddr{0x1040})}) == "n0 p0 [n1] n2");
}

TEST_CASE("names do not matter where there are anchors") {
    CHECK(merge_all(natives(4, {0, 3}), true, {segment(0, 1, in_frame(1))}) == "n0 p0 [n1] n2 n3");
}

TEST_CASE("a loop that has just begun runs no Python frame yet") {
    CHECK(merge_all(natives(4, {0, 2}), true, {segment(0, 1, in_frame(2))}) == "n0 n1 p0 [n2] n3");
    CHECK(merge_all(natives(4, {0, 2}), true, {segment(0, 1)}) == "n0 n1 p0 [n2] n3");
}

TEST_CASE("where unwinding stopped, what was found is merged and the rest follows a gap") {
    CHECK(merge_all(natives(3), false,
                    {segment(0, 1, in_frame(1)), segment(1, 3, in_frame(9)),
                     segment(3, 4, in_frame(12))}) == "n0 p0 [n1] n2 gap p1 p2 p3");
    CHECK(merge_all(natives(3), false, {segment(0, 1, in_frame(1))}) == "n0 p0 [n1] n2 gap");
    CHECK(merge_all(natives(2), false, {}) == "n0 n1 gap");
    CHECK(merge_all({}, false, {segment(0, 2, in_frame(1)), segment(2, 3, in_frame(4))}) ==
          "gap p0 p1 p2");
    CHECK(merge_all({}, false, {}) == "gap");
}

TEST_CASE("of the outermost frame nobody knows where it ends") {
    CHECK(merge_all(natives(3), false, {segment(0, 1, in_frame(2))}) == "n0 n1 n2 gap p0");
    CHECK(merge_all(natives(3), true, {segment(0, 1, in_frame(2))}) == "n0 n1 n2 p0 gap");
}

TEST_CASE("a segment without a place stays between its neighbours, its missing callers above it") {
    const auto stack =
        merge_stacks(natives(6), true,
                     std::vector{segment(0, 1, in_frame(1)), segment(1, 2, RemoteAddr{0x10}),
                                 segment(2, 3), segment(3, 4, in_frame(4))});
    CHECK(text(stack) == "n0 p0 [n1] n2 n3 p1 p2 gap p3 [n4] n5");
    CHECK(stack.unplaced == 2);
    CHECK(stack.frames[7] == MergedFrame{.kind = MergedFrame::Kind::kGap, .index = 4});
}

TEST_CASE("anchors that go the wrong way are not believed") {
    CHECK(merge_all(natives(6), true, {segment(0, 1, in_frame(4)), segment(1, 2, in_frame(1))}) ==
          "n0 n1 n2 n3 p0 [n4] n5 p1 gap");
}

TEST_CASE("a stack that goes on elsewhere") {
    // A signal handler on a stack of its own, far above, which was called from 0x1000.
    std::vector<NativeActivation> stack;
    for (const std::uint64_t sp : {0x9000, 0x9100, 0x9200, 0x1000, 0x1100, 0x1200}) {
        stack.push_back({.sp = {sp}});
    }
    CHECK(merge_all(stack, true,
                    {segment(0, 1, RemoteAddr{0x9140}), segment(1, 2, RemoteAddr{0x1140})}) ==
          "n0 p0 [n1] n2 n3 p1 [n4] n5");
    CHECK(merge_all(stack, true, {segment(0, 1, RemoteAddr{0x9240})}) ==
          "n0 n1 n2 n3 n4 n5 p0 gap");
}

TEST_CASE("without anchors each segment is a loop, counted from the outermost one") {
    CHECK(merge_all(natives(6, {1, 4}), true, {segment(0, 1), segment(1, 2)}) ==
          "n0 p0 [n1] n2 n3 p1 [n4] n5");
    CHECK(merge_all(natives(6, {0, 2, 4}), true, {segment(0, 1), segment(1, 2)}) ==
          "n0 n1 p0 [n2] n3 p1 [n4] n5");
    CHECK(merge_all(natives(6, {4}), true, {segment(0, 1), segment(1, 2)}) ==
          "n0 n1 n2 n3 p0 gap p1 [n4] n5");
}

TEST_CASE("and from the innermost one where the outermost are missing") {
    CHECK(merge_all(natives(4, {1, 3}), false, {segment(0, 1), segment(1, 2), segment(2, 3)}) ==
          "n0 p0 [n1] n2 p1 [n3] gap p2");
}

TEST_CASE("frames of several interpreters in one stack") {
    CHECK(merge_all(natives(4), true,
                    {segment(0, 2, in_frame(0), 1), segment(0, 1, in_frame(2), 0)}) ==
          "p0@1 p1@1 [n0] n1 p0 [n2] n3");
}

TEST_CASE("hundred thousand frames, placed or not, take no time") {
    constexpr std::size_t kCount = 100'000;
    std::vector<PythonSegment> placed;
    std::vector<PythonSegment> lost;
    for (std::size_t i = 0; i < kCount; ++i) {
        placed.push_back(segment(i, i + 1, in_frame(i)));
        lost.push_back(segment(i, i + 1, RemoteAddr{8}));
    }
    const auto stack = natives(kCount + 1);
    CHECK(merge_stacks(stack, true, placed).unplaced == 0);
    CHECK(merge_stacks(stack, true, lost).unplaced == kCount);
    CHECK(merge_stacks(stack, true, lost).frames.size() == 2 * kCount + 2);
}

TEST_CASE("3.12 and later: shims end activations, and are their anchors") {
    const FakeMemory memory;
    const std::vector frames{raw(0x100), raw(0x200), raw(0x7040, true), raw(0x300),
                             raw(0x7240, true)};
    const auto segments = split_into_activations(layout_of(12), frames, {}, memory, 3);
    using Bounds = std::vector<std::pair<std::size_t, std::size_t>>;
    CHECK(bounds(segments) == Bounds{{0, 2}, {3, 4}});
    CHECK(segments[0].anchor == RemoteAddr{0x7040});
    CHECK(segments[1].anchor == RemoteAddr{0x7240});
    CHECK(segments[1].thread == 3);
}

TEST_CASE("3.15: the sentinel that ends every chain is no activation") {
    const FakeMemory memory;
    const std::vector frames{raw(0x100), raw(0x7040, true), raw(0x55550, true)};
    const auto segments = split_into_activations(layout_of(12), frames, {}, memory, 0);
    CHECK(segments.size() == 1);
}

TEST_CASE("a chain that was cut keeps its frames") {
    const FakeMemory memory;
    const std::vector frames{raw(0x100), raw(0x7040, true), raw(0x300), raw(0x400)};
    const auto segments = split_into_activations(layout_of(12), frames, {}, memory, 0);
    REQUIRE(segments.size() == 2);
    CHECK(segments[1].begin == 2);
    CHECK(segments[1].end == 4);
    CHECK_FALSE(segments[1].anchor);
}

TEST_CASE("3.11: C frames are followed in the copied stack") {
    const auto layout = layout_of(11);
    FakeMemory memory;
    const RemoteAddr inner = memory.allocate(64);
    const RemoteAddr begun = memory.allocate(64);
    const RemoteAddr outer = memory.allocate(64);
    const auto link = [&](RemoteAddr c_frame, std::uint64_t current, RemoteAddr previous) {
        memory.put(c_frame + *layout.cframe.current_frame, current);
        memory.put(c_frame + *layout.cframe.previous, previous);
    };
    link(inner, 0x100, begun);
    link(begun, 0xdead, outer);  // Names no frame: not linked yet.
    link(outer, 0x300, {0x10});
    const std::vector frames{raw(0x100), raw(0x200, false, true), raw(0x300, false, true)};
    const auto segments = split_into_activations(layout, frames, inner, memory, 0);
    REQUIRE(segments.size() == 2);
    CHECK(segments[0].anchor == inner);
    CHECK(segments[1].anchor == outer);

    // generator.throw() puts a frame between that no activation runs.
    link(inner, 0x100, outer);
    link(outer, 0x280, {0x10});
    const std::vector thrown{raw(0x100, false, true), raw(0x280, false, true),
                             raw(0x300, false, true)};
    using Bounds = std::vector<std::pair<std::size_t, std::size_t>>;
    CHECK(bounds(split_into_activations(layout, thrown, inner, memory, 0)) ==
          Bounds{{0, 1}, {1, 3}});

    // A ring, and a chain that cannot be read, end the search.
    link(inner, 0xdead, inner);
    CHECK_FALSE(split_into_activations(layout, frames, inner, memory, 0)[0].anchor);
    CHECK_FALSE(split_into_activations(layout, frames, {0x10}, memory, 0)[0].anchor);
}

TEST_CASE("below 3.11 each frame is an activation") {
    const FakeMemory memory;
    const std::vector frames{raw(0x100), raw(0x200), raw(0x300)};
    const auto segments = split_into_activations(layout_of(8), frames, {}, memory, 0);
    CHECK(segments.size() == 3);
    CHECK_FALSE(segments[2].anchor);
}

TEST_CASE("3.10: frames that generator.throw() links are run by nobody") {
    const FakeMemory memory;
    std::vector frames{raw(0x100), raw(0x200), raw(0x300)};
    frames[1].suspended = true;
    using Bounds = std::vector<std::pair<std::size_t, std::size_t>>;
    CHECK(bounds(split_into_activations(layout_of(10), frames, {}, memory, 0)) ==
          Bounds{{0, 1}, {1, 3}});
}
