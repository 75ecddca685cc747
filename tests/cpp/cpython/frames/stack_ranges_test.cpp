#include "cpython/frames/stack_ranges.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <vector>

#include "support/fake_interpreter.h"

using namespace pystack;
using namespace pystack::cpython;
using pystack::testing::FakeInterpreter;
using pystack::testing::for_each_version;
using pystack::testing::layout_of;

namespace {

constexpr RemoteAddr kThread{0x100000};
constexpr RemoteAddr kBase{0x200000};
constexpr RemoteRange kCframe{{0x300000}, {0x300008}};

/// Ranges of stacks that exist only as lists of frames: nothing is read.
struct Built {
    explicit Built(const Layout& layout) : format(layout) {}

    /// A stack whose frames lie behind each other, innermost first.
    void on_data_stack(std::size_t depth, std::uint64_t distance) {
        frames.clear();
        for (std::size_t i = depth; i-- > 0;) frames.push_back({.address = kBase + i * distance});
    }

    void build() {
        ranges.build(format,
                     {.thread_state = kThread,
                      .cframe = cframe,
                      .data_stack_limit = limit,
                      .highest_end = highest_end,
                      .innermost_first = frames},
                     recent);
    }

    std::optional<StackRanges::Place> find(RemoteAddr frame) const {
        std::size_t hint = 0;
        return ranges.find(format.header_at(frame), hint);
    }

    FrameFormat format;
    RemoteRange cframe;
    RemoteAddr limit;
    RemoteAddr highest_end;
    std::vector<RawFrame> frames;
    RecentRanges recent;
    StackRanges ranges;
};

}  // namespace

TEST_CASE("every frame of a stack is in its ranges, at its place") {
    for_each_version([](FakeInterpreter& fake) {
        for (const std::size_t depth : {1, 7, 300}) {
            for (const std::uint64_t distance : {96, 1000, 5000}) {
                Built built(fake.layout);
                built.on_data_stack(depth, distance);
                built.build();
                std::size_t hint = 0;
                for (const RawFrame& frame : built.frames) {
                    const RemoteRange header = built.format.header_at(frame.address);
                    const auto place = built.ranges.find(header, hint);
                    REQUIRE(place);
                    CHECK(hint == place->range);
                    CHECK(built.ranges[place->range].begin + place->offset == header.begin);
                    CHECK(header.end <= built.ranges[place->range].end);
                }
            }
        }
    });
}

TEST_CASE("ranges come in the order C frame, thread state, near, far, recent") {
    Built built(layout_of(12));
    built.cframe = kCframe;
    built.on_data_stack(100, 96);
    built.recent.add_proved({{0x400000}, {0x400040}});
    built.build();
    const StackRanges& ranges = built.ranges;
    CHECK(ranges[0] == kCframe);
    CHECK(ranges.thread_range() == 1);
    CHECK(ranges[1] == built.format.thread_at(kThread));
    CHECK(ranges[2] == ranges.near());
    CHECK(ranges.first_far() == 3);
    CHECK(ranges.first_recent() + 1 == ranges.size());
    CHECK(built.find(built.frames.front().address)->range == 2);
    CHECK(built.find(built.frames.back().address)->range >= ranges.first_far());
    for (std::size_t i = 0; i < ranges.size(); ++i) {
        CHECK(ranges.is_far(i) == (i >= 3 && i + 1 < ranges.size()));
        CHECK(ranges.is_recent(i) == (i + 1 == ranges.size()));
    }
}

TEST_CASE("frame objects have near ranges of their own, and neighbours share far ones") {
    Built built(layout_of(10));
    built.on_data_stack(50, 512);
    built.build();
    CHECK(built.ranges.thread_range() == 0);
    CHECK(built.ranges.first_far() == 1 + StackRanges::kNearFrames);
    CHECK(built.ranges.first_recent() == built.ranges.first_far() + 1);
    CHECK(built.ranges.near().size() == 0);
}

TEST_CASE("the near range does not go past what is mapped") {
    Built built(layout_of(13));
    built.frames = {{.address = {kBase.value + 4096 - built.format.header().end.value}}};
    built.build();
    CHECK(built.ranges.near().end == kBase + 4096);
    built.limit = kBase + 4096 + 100;
    built.build();
    CHECK(built.ranges.near().end == built.limit);
    built.limit = kBase + 16 * 1024;
    built.build();
    CHECK(built.ranges.near().end > kBase + 4096 + 100);
    CHECK(built.ranges.near().end < built.limit);
}

TEST_CASE("the near range reaches as far up as the stack did recently") {
    Built built(layout_of(13));
    built.limit = kBase + 256 * 1024;
    built.on_data_stack(1, 96);
    built.highest_end = kBase + 10'000;
    built.build();
    CHECK(built.ranges.near().end == built.highest_end + built.format.header().size());
    built.highest_end = kBase + 128 * 1024;  // Too far to be read each time.
    built.build();
    CHECK(built.ranges.near().end < kBase + 1000);
}

TEST_CASE("near and far overlap by a header, so no frame lies across the border") {
    Built built(layout_of(13));
    built.on_data_stack(200, 96);
    built.build();
    const RemoteRange near = built.ranges.near();
    for (std::int64_t shift = -64; shift <= 64; shift += 8) {
        const RemoteAddr frame{near.begin.value + static_cast<std::uint64_t>(shift)};
        CHECK(built.find(frame));
    }
}

TEST_CASE("recent ranges are added unless they are there") {
    Built built(layout_of(13));
    built.on_data_stack(3, 96);
    built.recent.add_proved(built.format.header_at(kBase));
    built.recent.add_proved({{0x400000}, {0x400040}});
    built.recent.add_proved({{0x400010}, {0x400020}});
    built.build();
    CHECK(built.ranges.size() == built.ranges.first_recent() + 1);
    CHECK(built.ranges[built.ranges.first_recent()].begin.value == 0x400000);
}

TEST_CASE("nothing is found in the thread state, or in part") {
    Built built(layout_of(13));
    built.on_data_stack(3, 96);
    built.build();
    std::size_t hint = 0;
    const RemoteRange thread = built.ranges[built.ranges.thread_range()];
    CHECK_FALSE(built.ranges.find({thread.begin, thread.begin + 8}, hint));
    const RemoteRange near = built.ranges.near();
    CHECK_FALSE(built.ranges.find({near.end - 8, near.end + 8}, hint));
    CHECK(built.ranges.find({near.end - 8, near.end}, hint));
}

TEST_CASE("bytes of all ranges lie behind each other") {
    Built built(layout_of(11));
    built.cframe = kCframe;
    built.on_data_stack(100, 3000);
    built.build();
    std::uint64_t offset = 0;
    for (std::size_t i = 0; i < built.ranges.size(); ++i) {
        CHECK(built.ranges.offset(i) == offset);
        offset += built.ranges[i].size();
        CHECK(built.ranges.reverse_piece(5, i) == 5 + built.ranges.size() - 1 - i);
    }
    CHECK(built.ranges.total_bytes() == offset);
    CHECK(built.ranges.memory_bytes() > offset);
}

TEST_CASE("ranges are for one thread state and one C frame") {
    Built built(layout_of(12));
    CHECK_FALSE(built.ranges.is_for({}));
    built.cframe = kCframe;
    built.build();
    CHECK(built.ranges.is_for(kThread));
    CHECK_FALSE(built.ranges.is_for(kBase));
    CHECK(built.ranges.is_for_cframe(kCframe));
    CHECK_FALSE(built.ranges.is_for_cframe({kBase, kBase + 8}));
    built.ranges.clear();
    CHECK_FALSE(built.ranges.is_for(kThread));
    built.cframe = {};
    built.build();
    CHECK(built.ranges.is_for_cframe(kCframe));
}
