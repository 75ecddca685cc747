#include "cpython/frames/proved_stack.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <vector>

#include "support/proof_parts.h"

using namespace pystack;
using namespace pystack::cpython;
using pystack::testing::FakeInterpreter;
using pystack::testing::for_each_version;
using pystack::testing::ProofParts;

namespace {

/// Whether a look that is read now shows the stack that was proved.
bool look_holds(ProofParts& parts) {
    memory::ReadBatch batch;
    batch.add(parts.ranges[0]);  // Of somebody else.
    const std::size_t first = parts.last.add_look(parts.ranges, batch);
    REQUIRE(first == 1);
    batch.read(parts.fake.memory());
    return parts.last.is_unchanged(parts.format, parts.ranges, batch, first);
}

std::vector<RawFrame> outermost_first(const ProofParts& parts) {
    return {parts.innermost_first.rbegin(), parts.innermost_first.rend()};
}

std::vector<RawFrame> frames_of(const ProvedStack& stack) {
    return {stack.frames().begin(), stack.frames().end()};
}

}  // namespace

TEST_CASE("nothing is proved at first") {
    for_each_version([](FakeInterpreter& fake) {
        ProofParts parts(fake, 3);
        CHECK_FALSE(parts.last.exists());
        CHECK_FALSE(parts.last.has_bytes());
        CHECK(parts.last.bytes() == nullptr);
        CHECK(parts.last.consume_unchanged() == 0);
        CHECK_FALSE(parts.last.is_in_order(parts.ranges));
        CHECK_FALSE(look_holds(parts));
    });
}

TEST_CASE("a proved stack has frames, outermost first, and their bytes") {
    for_each_version([](FakeInterpreter& fake) {
        ProofParts parts(fake, 40);
        REQUIRE(parts.prove());
        CHECK(parts.last.exists());
        CHECK(frames_of(parts.last) == outermost_first(parts));
        CHECK(parts.last.is_in_order(parts.ranges));
        REQUIRE(parts.last.places().size() == parts.last.frames().size());
        for (std::size_t i = 0; i < parts.last.frames().size(); ++i) {
            const auto& place = parts.last.places()[i];
            const RemoteRange header = parts.format.header_at(parts.last.frames()[i].address);
            std::vector<std::byte> bytes(header.size());
            REQUIRE(fake.memory().read_up_to(header.begin, bytes) == bytes.size());
            CHECK(std::equal(bytes.begin(), bytes.end(),
                             parts.last.bytes() + parts.ranges.offset(place.range) + place.offset));
        }
    });
}

TEST_CASE("what is unchanged is counted from the outermost frame, since it was asked last") {
    for_each_version([](FakeInterpreter& fake) {
        ProofParts parts(fake, 10);
        REQUIRE(parts.prove());
        const std::size_t all = parts.last.frames().size();
        CHECK(parts.last.consume_unchanged() == 0);
        REQUIRE(parts.prove());
        CHECK(parts.last.consume_unchanged() == all);
        fake.memory().put(parts.instruction_at(6), std::int32_t{1000});
        REQUIRE(parts.prove());
        REQUIRE(parts.prove());
        CHECK(parts.last.consume_unchanged() == all - 4);
        CHECK(parts.last.consume_unchanged() == all);
    });
}

TEST_CASE("a stack that became shorter is as unchanged as it is long") {
    for_each_version([](FakeInterpreter& fake) {
        ProofParts parts(fake, 10);
        REQUIRE(parts.prove());
        parts.last.consume_unchanged();
        fake.set_top(parts.thread, fake.frame(parts.base, 4));
        REQUIRE(parts.prove());
        CHECK(parts.last.frames().size() == 5 + fake.has_shims());
        CHECK(parts.last.consume_unchanged() == parts.last.frames().size());
    });
}

TEST_CASE("a look holds as long as no byte of the stack changes") {
    for_each_version([](FakeInterpreter& fake) {
        for (const std::size_t depth : {1, 5, 300}) {
            ProofParts parts(fake, depth);
            REQUIRE(parts.prove());
            CHECK(look_holds(parts));
            for (const std::size_t frame : {std::size_t{0}, depth / 2, depth - 1}) {
                const RemoteAddr place = parts.instruction_at(frame);
                const auto before = *fake.memory().read_pointer(place);
                fake.memory().put(place, before.value + 2);
                CHECK_FALSE(look_holds(parts));
                fake.memory().put(place, before);
                CHECK(look_holds(parts));
            }
            fake.set_top(parts.thread, {});
            CHECK_FALSE(look_holds(parts));
        }
    });
}

TEST_CASE("a look sees values of callers, where they are on the data stack") {
    for_each_version([](FakeInterpreter& fake) {
        if (fake.layout.frame_chain == FrameChain::kFrameObject) return;
        ProofParts parts(fake, 5);
        REQUIRE(parts.prove());
        const RemoteAddr value =
            fake.frame(parts.base, 2) + fake.layout.interpreter_frame.struct_size;
        fake.memory().put(value, std::uint64_t{7});
        CHECK_FALSE(look_holds(parts));
    });
}

TEST_CASE("bytes move to other ranges for the same stack") {
    for_each_version([](FakeInterpreter& fake) {
        ProofParts parts(fake, 300);
        REQUIRE(parts.prove());
        const StackRanges old = parts.ranges;
        const ProvedStack before = parts.last;
        // The ranges of a stack that was less deep, and has come back.
        parts.recent.add_proved({parts.base, parts.base + 64});
        parts.plan();
        parts.last = before;
        parts.last.move_to(parts.format, old, parts.ranges, parts.start().cframe);
        CHECK(parts.last.has_bytes());
        CHECK(frames_of(parts.last) == outermost_first(parts));
        CHECK(look_holds(parts));
        fake.memory().put(parts.instruction_at(150), std::int32_t{1000});
        CHECK_FALSE(look_holds(parts));
    });
}

TEST_CASE("bytes that do not fit other ranges are forgotten, and frames kept") {
    for_each_version([](FakeInterpreter& fake) {
        ProofParts parts(fake, 30);
        REQUIRE(parts.prove());
        const StackRanges old = parts.ranges;
        const ProvedStack before = parts.last;
        fake.stack(parts.thread, 3, ProofParts::kCode);
        parts.plan();
        parts.last = before;
        parts.last.move_to(parts.format, old, parts.ranges, parts.start().cframe);
        CHECK_FALSE(parts.last.has_bytes());
        CHECK(parts.last.exists());
        CHECK(parts.last.frames().size() == 30 + fake.has_shims());
        CHECK_FALSE(look_holds(parts));
    });
}
