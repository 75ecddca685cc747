#include "cpython/frames/read_plan.h"

#include <doctest/doctest.h>

#include <chrono>
#include <vector>

#include "support/proof_parts.h"

using namespace pystack;
using namespace pystack::cpython;
using pystack::testing::FakeInterpreter;
using pystack::testing::for_each_version;
using pystack::testing::layout_of;
using pystack::testing::ProofParts;
using std::chrono::steady_clock;

namespace {

constexpr std::uint64_t kMostBytes = 1 << 30;

/// A plan that is used as StackReader does.
struct Planned {
    Planned(FakeInterpreter& fake, std::size_t depth) : parts(fake, depth) { build(); }

    void build() {
        parts.plan();
        plan.build(parts.format, parts.start(), parts.innermost_first, false, kMostBytes);
    }

    StackProof::Verdict judge(bool may_continue) {
        parts.batch.clear();
        const std::size_t first =
            ProofCopies::add_to(parts.batch, plan.ranges(), plan.begin_proof(may_continue));
        parts.batch.read(parts.memory);
        const auto now = steady_clock::now();
        REQUIRE(plan.end_proof(read_begin.value_or(now)));
        parts.copies.use(plan.ranges(), plan.last_proof().bytes(), plan.continues(), parts.batch,
                         first);
        auto verdict = parts.proof.judge({plan.ranges(), plan.last_proof(), parts.copies}, true,
                                         plan.most_frames());
        if (verdict.start) plan.set_start(*verdict.start);
        return verdict;
    }

    bool prove(bool may_continue = false) {
        const auto verdict = judge(may_continue);
        if (verdict.is_proved()) plan.accept(parts.format, verdict.found, parts.copies, proved_at);
        return verdict.is_proved();
    }

    /// The thread goes somewhere that is in no plan. Returns whether the plan still has ranges.
    bool move_away() {
        parts.fake.stack(parts.thread, 3, ProofParts::kCode);
        const auto verdict = judge(false);
        REQUIRE(verdict.missing);
        plan.add_missing(parts.format, *verdict.missing);
        return plan.ranges().is_for(parts.thread);
    }

    ProofParts parts;
    ReadPlan plan;
    steady_clock::time_point proved_at;  ///< Told to the plan.
    std::optional<steady_clock::time_point> read_begin;
};

}  // namespace

TEST_CASE("a plan is for the stack that it was built for, and then has what was proved") {
    for_each_version([](FakeInterpreter& fake) {
        Planned planned(fake, 20);
        CHECK(planned.plan.ranges().is_for(planned.parts.thread));
        CHECK_FALSE(planned.plan.proved());
        CHECK(planned.plan.most_frames() == SIZE_MAX);
        REQUIRE(planned.prove());
        CHECK(planned.plan.proved());
        CHECK(planned.plan.is_in_order());
        CHECK(planned.plan.frames().size() == 20 + fake.has_shims());
        CHECK(planned.plan.consume_unchanged() == 0);
        planned.plan.clear();
        CHECK_FALSE(planned.plan.proved());
        CHECK(planned.plan.frames().empty());
        CHECK_FALSE(planned.plan.ranges().is_for(planned.parts.thread));
    });
}

TEST_CASE("a plan has as many frames as its copies may have bytes") {
    FakeInterpreter fake(layout_of(13));
    ProofParts parts(fake, 1000);
    ReadPlan plan;
    const std::size_t all = parts.innermost_first.size();
    plan.build(parts.format, parts.start(), parts.innermost_first, false, 64 * 1024);
    CHECK(plan.most_frames() < all);
    CHECK(plan.most_frames() == parts.innermost_first.size());
    CHECK(plan.ranges().memory_bytes() / 3 <= 64 * 1024 / 2);
    parts.plan();
    plan.build(parts.format, parts.start(), parts.innermost_first, true, kMostBytes);
    CHECK(plan.most_frames() == all);
}

TEST_CASE("what is missed is planned next time, and the third time in a row all is looked for") {
    for_each_version([](FakeInterpreter& fake) {
        Planned planned(fake, 20);
        REQUIRE(planned.prove());
        CHECK(planned.move_away());
        const RemoteRange missed = planned.parts.format.header_at(planned.parts.start().top);
        std::size_t hint = 0;
        if (fake.layout.frame_chain != FrameChain::kCFrame)
            CHECK(planned.plan.ranges().find(missed, hint));
        CHECK(planned.plan.last_proof().has_bytes());
        CHECK(planned.move_away());
        CHECK_FALSE(planned.move_away());
        CHECK_FALSE(planned.plan.last_proof().has_bytes());
        CHECK(planned.plan.frames().size() == 20 + fake.has_shims());
    });
}

TEST_CASE("a miss without bytes looks for all at once") {
    for_each_version([](FakeInterpreter& fake) {
        Planned planned(fake, 20);
        CHECK_FALSE(planned.move_away());
    });
}

TEST_CASE("a proof counts misses anew") {
    for_each_version([](FakeInterpreter& fake) {
        Planned planned(fake, 20);
        const RemoteAddr top = planned.parts.fake.frame(planned.parts.base, 19);
        for (int time = 0; time < 3; ++time) {
            fake.set_top(planned.parts.thread, top);
            REQUIRE(planned.prove());
            CHECK(planned.move_away());
            CHECK(planned.move_away());
        }
    });
}

TEST_CASE("ranges follow a stack that moves away from them") {
    for_each_version([](FakeInterpreter& fake) {
        if (fake.layout.frame_chain == FrameChain::kFrameObject) return;
        Planned planned(fake, 300);
        REQUIRE(planned.prove());
        const RemoteRange near = planned.plan.ranges().near();
        fake.set_top(planned.parts.thread, fake.frame(planned.parts.base, 10));
        REQUIRE(planned.prove());
        CHECK(planned.plan.ranges().near().end < near.begin);
        CHECK(planned.plan.last_proof().has_bytes());
        CHECK(planned.plan.frames().size() == 11 + fake.has_shims());
        CHECK(planned.prove());
    });
}

TEST_CASE("only a proof that begins just after the last one continues it") {
    using std::chrono::microseconds;
    for_each_version([](FakeInterpreter& fake) {
        Planned planned(fake, 400);
        const auto far_future = steady_clock::now() + std::chrono::hours(1);
        CHECK_FALSE(planned.plan.begin_proof(true));  // Nothing was proved.
        planned.proved_at = far_future;  // However slow the machine is, this is not too late.
        REQUIRE(planned.prove());
        CHECK_FALSE(planned.plan.begin_proof(false));
        CHECK(planned.plan.end_proof(far_future + microseconds(1000)));
        CHECK_FALSE(planned.plan.begin_proof(true));  // That one was not proved.
        REQUIRE(planned.prove());
        CHECK(planned.plan.begin_proof(true));
        CHECK(planned.plan.continues());
        CHECK_FALSE(planned.plan.end_proof(far_future + microseconds(51)));
        REQUIRE(planned.prove());
        planned.read_begin = far_future + microseconds(49);
        CHECK(planned.prove(true));
        CHECK(planned.plan.continues());
        planned.proved_at = steady_clock::now() - microseconds(100);
        planned.read_begin.reset();
        REQUIRE(planned.prove());
        CHECK_FALSE(planned.plan.begin_proof(true));
    });
}

TEST_CASE("a shallow stack is not continued") {
    FakeInterpreter fake(layout_of(13));
    Planned planned(fake, 5);
    planned.proved_at = steady_clock::now() + std::chrono::hours(1);
    REQUIRE(planned.prove());
    CHECK_FALSE(planned.plan.begin_proof(true));
}
