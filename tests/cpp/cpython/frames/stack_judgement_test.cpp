// StackProof by itself: two copies and a verdict, nothing else.

#include <doctest/doctest.h>

#include "cpython/frames/stack_proof.h"
#include "support/proof_parts.h"

using namespace pystack;
using namespace pystack::cpython;
using model::StackEnd;
using pystack::testing::FakeInterpreter;
using pystack::testing::for_each_version;
using pystack::testing::layout_of;
using pystack::testing::ProofParts;

TEST_CASE("equal copies prove a stack, and the verdict is the same again") {
    for_each_version([](FakeInterpreter& fake) {
        ProofParts parts(fake, 5);
        parts.read();
        for (int time = 0; time < 2; ++time) {
            const auto verdict = parts.judge();
            CHECK(verdict.end == StackEnd::kComplete);
            CHECK(verdict.stayed);
            CHECK(verdict.found.known == 0);
            CHECK(verdict.found.fresh.size() == 5 + fake.has_shims());
            CHECK(verdict.found.places.size() == verdict.found.fresh.size());
            CHECK_FALSE(verdict.found.is_truncated);
            REQUIRE(verdict.start);
            CHECK(verdict.start->top == parts.start().top);
            CHECK_FALSE(verdict.problem);
        }
        CHECK_FALSE(parts.last.exists());
    });
}

TEST_CASE("a batch that was interrupted proves nothing") {
    for_each_version([](FakeInterpreter& fake) {
        ProofParts parts(fake, 5);
        parts.read();
        const auto verdict = parts.proof.judge({parts.ranges, parts.last, parts.copies}, false, 10);
        CHECK(verdict.end == StackEnd::kTorn);
        CHECK_FALSE(verdict.start);
    });
}

TEST_CASE("copies without the thread state are unreadable, and without a frame torn") {
    FakeInterpreter fake(layout_of(13));
    ProofParts parts(fake, 5);
    parts.memory.between = [&] { fake.unmap(parts.base); };
    parts.read();
    const auto torn = parts.judge();
    CHECK(torn.end == StackEnd::kTorn);
    CHECK(torn.missing == parts.format.header_at(fake.frame(parts.base, 4)));
    REQUIRE(torn.problem);
    CHECK(torn.problem->code == ErrorCode::kReadFault);
    fake.unmap(parts.thread);
    parts.memory.between = {};
    parts.read();
    const auto unreadable = parts.judge();
    CHECK(unreadable.end == StackEnd::kUnreadable);
    REQUIRE(unreadable.problem);
    CHECK(unreadable.problem->address == parts.thread);
}

TEST_CASE("another thread in the same place is not the thread") {
    for_each_version([](FakeInterpreter& fake) {
        // Where there are no C frames the thread state is read once, and cannot change.
        if (!fake.layout.thread_state.id || fake.layout.frame_chain != FrameChain::kCFrame) return;
        ProofParts parts(fake, 5);
        parts.memory.between = [&] {
            fake.memory().put(parts.thread + *fake.layout.thread_state.id, std::uint64_t{77});
        };
        parts.read();
        CHECK(parts.judge().end == StackEnd::kTorn);
    });
}

TEST_CASE("callers must agree, the innermost frame only in what it is") {
    for_each_version([](FakeInterpreter& fake) {
        for (std::size_t frame = 0; frame < 5; ++frame) {
            CAPTURE(frame);
            ProofParts parts(fake, 5);
            parts.memory.between = [&] {
                fake.memory().put(parts.instruction_at(frame), std::int32_t{1000});
            };
            parts.read();
            const auto verdict = parts.judge();
            CHECK(verdict.end == (frame == 4 ? StackEnd::kComplete : StackEnd::kTorn));
            CHECK_FALSE(verdict.missing);
        }
        ProofParts parts(fake, 5);
        parts.memory.between = [&] {
            fake.memory().put(fake.frame(parts.base, 4) + *fake.layout.interpreter_frame.executable,
                              RemoteAddr{0x7000});
        };
        parts.read();
        CHECK(parts.judge().end == StackEnd::kTorn);
    });
}

TEST_CASE("a caller that is not at a call has returned") {
    for_each_version([](FakeInterpreter& fake) {
        ProofParts parts(fake, 5);
        fake.put_calls(fake.frame(parts.base, 1), false);
        parts.read();
        CHECK(parts.judge().end == StackEnd::kTorn);
    });
}

TEST_CASE("an innermost frame that looks as if it had returned did not stay") {
    for_each_version([](FakeInterpreter& fake) {
        ProofParts parts(fake, 5);
        const RemoteAddr left = fake.frame(parts.base, 4);
        // 3.14 and later say so of the second copy, others of the first.
        if (fake.layout.stack_top == StackTop::kPointer) {
            parts.memory.between = [&] {
                fake.memory().put(left + *fake.layout.interpreter_frame.stackpointer,
                                  left + *fake.layout.interpreter_frame.localsplus);
            };
        } else {
            fake.put_calls(left, !fake.running_frames_call());
        }
        parts.read();
        const auto verdict = parts.judge();
        CHECK(verdict.end == StackEnd::kComplete);
        CHECK_FALSE(verdict.stayed);
        // Unless the last proof found the same.
        parts.memory.between = {};
        REQUIRE(parts.prove());
        parts.read();
        CHECK(parts.judge().stayed);
    });
}

TEST_CASE("frames of the last proof that are as they were are not found again") {
    for_each_version([](FakeInterpreter& fake) {
        ProofParts parts(fake, 10);
        const std::size_t all = 10 + fake.has_shims();
        REQUIRE(parts.prove());
        parts.read();
        const auto same = parts.judge();
        CHECK(same.found.fresh.empty());
        CHECK(same.found.known == all);
        CHECK(same.stayed);
        fake.memory().put(parts.instruction_at(7), std::int32_t{1000});
        parts.read();
        const auto changed = parts.judge();
        CHECK(changed.end == StackEnd::kComplete);
        CHECK(changed.found.fresh.size() == 3);
        CHECK(changed.found.known == all - 3);
        // They must be so in both copies.
        parts.memory.between = [&] {
            fake.memory().put(parts.instruction_at(2), std::int32_t{1000});
        };
        parts.read();
        CHECK(parts.judge().end == StackEnd::kTorn);
    });
}

TEST_CASE("values of callers must agree, also of those that are known") {
    for_each_version([](FakeInterpreter& fake) {
        // Below 3.11 only the heads of frame objects are read.
        if (fake.layout.frame_chain == FrameChain::kFrameObject) return;
        for (const bool known : {false, true}) {
            ProofParts parts(fake, 5);
            if (known) REQUIRE(parts.prove());
            const RemoteAddr value =
                fake.frame(parts.base, 2) + fake.layout.interpreter_frame.struct_size;
            parts.memory.between = [&] { fake.memory().put(value, std::uint64_t{7}); };
            parts.read();
            CHECK(parts.judge().end == StackEnd::kTorn);
        }
    });
}

TEST_CASE("a stack that is deeper than the limit ends there, also when it is known") {
    for_each_version([](FakeInterpreter& fake) {
        ProofParts parts(fake, 10);
        for (int time = 0; time < 2; ++time) {
            parts.read();
            const auto verdict = parts.judge(6);
            CHECK(verdict.end == StackEnd::kDepthLimit);
            CHECK(verdict.found.size() == 6);
            CHECK(verdict.found.is_truncated);
            CHECK(verdict.found.known == (time == 0 ? 0 : 6));
            parts.accept(verdict.found);
        }
        // Nor are more frames than that known.
        ProofParts whole(fake, 10);
        REQUIRE(whole.prove());
        whole.read();
        const auto verdict = whole.judge(6);
        CHECK(verdict.end == StackEnd::kDepthLimit);
        CHECK(verdict.found.size() == 6);
    });
}
