#include "cpython/frames/frame_chain_walker.h"

#include <doctest/doctest.h>

#include <array>
#include <optional>
#include <vector>

#include "support/fake_interpreter.h"

using namespace pystack;
using namespace pystack::cpython;
using model::StackEnd;
using pystack::testing::FakeInterpreter;
using pystack::testing::for_each_version;
using pystack::testing::layout_of;

namespace {

constexpr RemoteAddr kCode{0x5000};
constexpr std::size_t kMost = 10'000;

/// The bytes of fake memory.
class FakeFrames {
  public:
    explicit FakeFrames(FakeInterpreter& fake) : fake_(fake) {}

    const std::byte* view(RemoteRange range) {
        last_ = range;
        const auto bytes = std::span(buffer_).first(range.size());
        return fake_.memory().read_up_to(range.begin, bytes) == range.size() ? bytes.data()
                                                                             : nullptr;
    }
    bool is_torn() const { return last_ == torn; }

    RemoteRange torn;

  private:
    FakeInterpreter& fake_;
    RemoteRange last_;
    std::array<std::byte, FrameFormat::kMostThreadBytes> buffer_{};
};

/// Knows one frame, and so many callers of it.
class KnownFrames : public FakeFrames {
  public:
    using FakeFrames::FakeFrames;

    std::optional<StackEnd> known_end(RemoteAddr frame, std::size_t room) {
        rooms.push_back(room);
        if (frame != known) return std::nullopt;
        return StackEnd::kDepthLimit;
    }

    RemoteAddr known;
    std::vector<std::size_t> rooms;
};

static_assert(FrameSource<FakeFrames> && !KnowsCallers<FakeFrames>);
static_assert(KnowsCallers<KnownFrames>);

struct Walk {
    explicit Walk(FakeInterpreter& of, std::size_t depth)
        : fake(of), format(of.layout), thread(of.add_thread(of.add_interpreter(0), 1)) {
        base = fake.stack(thread, depth, kCode);
    }

    FrameChainWalker::Start start() {
        const RemoteRange range = format.thread_at(thread);
        std::vector<std::byte> bytes(range.size());
        REQUIRE(fake.memory().read_up_to(range.begin, bytes) == bytes.size());
        return FrameChainWalker(format).start(thread, bytes.data());
    }

    template <class Source>
    StackOutcome from(Source& source, std::size_t most = kMost) {
        frames.clear();
        return FrameChainWalker(format).walk(
            start(), source, most, [&](const RawFrame& frame) { frames.push_back(frame); });
    }

    StackOutcome run(std::size_t most = kMost) {
        FakeFrames source(fake);
        return from(source, most);
    }

    void link(std::size_t frame, RemoteAddr previous) {
        fake.memory().put(fake.frame(base, frame) + *fake.layout.interpreter_frame.previous,
                          previous);
    }

    FakeInterpreter& fake;
    FrameFormat format;
    RemoteAddr thread;
    RemoteAddr base;
    std::vector<RawFrame> frames;
};

ErrorCode code_of(const StackOutcome& outcome) {
    REQUIRE(outcome.problem);
    return outcome.problem->code;
}

}  // namespace

TEST_CASE("a walk visits frames from the innermost out") {
    for_each_version([](FakeInterpreter& fake) {
        Walk walk(fake, 3);
        CHECK(walk.run().end == StackEnd::kComplete);
        REQUIRE(walk.frames.size() == 3 + fake.has_shims());
        for (std::size_t i = 0; i < 3; ++i)
            CHECK(walk.frames[i].address == fake.frame(walk.base, 2 - i));
    });
}

TEST_CASE("a walk ends at a cycle, wherever it is entered") {
    for_each_version([](FakeInterpreter& fake) {
        constexpr std::size_t kDepth = 100;
        for (const std::size_t back_to : {0, 1, 2, 50, 99}) {
            CAPTURE(back_to);
            Walk walk(fake, kDepth);
            walk.link(0, fake.frame(walk.base, back_to));
            const StackOutcome outcome = walk.run();
            CHECK(outcome.end == StackEnd::kUnreadable);
            CHECK(code_of(outcome) == ErrorCode::kCorruptData);
            CHECK(walk.frames.size() >= kDepth);
            CHECK(walk.frames.size() < 4 * kDepth);
        }
    });
}

TEST_CASE("3.10: a chain ends at null") {
    FakeInterpreter fake(layout_of(10));
    Walk walk(fake, 3);
    walk.link(1, {});
    CHECK(walk.run().end == StackEnd::kComplete);
    CHECK(walk.frames.size() == 2);
}

TEST_CASE("3.11: a chain ends at an entry frame") {
    FakeInterpreter fake(layout_of(11));
    Walk walk(fake, 3);
    CHECK(walk.run().end == StackEnd::kComplete);
    fake.put_frame(walk.base, {.code = kCode, .is_entry = false});
    const StackOutcome outcome = walk.run();
    CHECK(outcome.end == StackEnd::kUnreadable);
    CHECK(code_of(outcome) == ErrorCode::kCorruptData);
    CHECK(outcome.problem->address == walk.base);
    CHECK(walk.frames.size() == 3);
}

TEST_CASE("3.12: a chain ends at a shim") {
    FakeInterpreter fake(layout_of(12));
    Walk walk(fake, 3);
    CHECK(walk.run().end == StackEnd::kComplete);
    CHECK(walk.frames.back().shim);
    walk.link(0, {});
    const StackOutcome outcome = walk.run();
    CHECK(outcome.end == StackEnd::kUnreadable);
    CHECK(code_of(outcome) == ErrorCode::kCorruptData);
    CHECK(outcome.problem->address == walk.base);
}

TEST_CASE("a walk goes through entry frames and shims that have callers") {
    for (const std::uint8_t minor : {11, 12}) {
        FakeInterpreter fake(layout_of(minor));
        Walk walk(fake, 4);
        FakeInterpreter::Frame middle{
            .previous = fake.frame(walk.base, 1), .code = kCode, .is_entry = true};
        if (fake.has_shims()) middle.owner = fake.layout.first_shim_owner;
        fake.put_frame(fake.frame(walk.base, 2), middle);
        CHECK(walk.run().end == StackEnd::kComplete);
        CHECK(walk.frames.size() == 4 + fake.has_shims());
    }
}

TEST_CASE("a walk visits at most so many frames") {
    for_each_version([](FakeInterpreter& fake) {
        Walk walk(fake, 10);
        const std::size_t all = 10 + fake.has_shims();
        CHECK(walk.run(all).end == StackEnd::kComplete);
        const StackOutcome limited = walk.run(all - 1);
        CHECK(limited.end == StackEnd::kDepthLimit);
        CHECK_FALSE(limited.problem);
        CHECK(walk.frames.size() == all - 1);
        CHECK(walk.run(0).end == StackEnd::kDepthLimit);
    });
}

TEST_CASE("bytes that the source lacks end a walk") {
    for_each_version([](FakeInterpreter& fake) {
        Walk walk(fake, 3);
        walk.link(1, {0x100});
        const StackOutcome outcome = walk.run();
        CHECK(outcome.end == StackEnd::kUnreadable);
        CHECK(code_of(outcome) == ErrorCode::kReadFault);
        CHECK(outcome.problem->address == walk.format.header_at({0x100}).begin);
        CHECK(outcome.problem->size == walk.format.header().size());
        CHECK(walk.frames.size() == 2);
    });
}

TEST_CASE("a misaligned frame ends a walk") {
    for_each_version([](FakeInterpreter& fake) {
        Walk walk(fake, 3);
        walk.link(1, walk.base + 4);
        CHECK(code_of(walk.run()) == ErrorCode::kCorruptData);
        CHECK(walk.frames.size() == 2);
    });
}

TEST_CASE("a C frame that changed while it was read leads nowhere") {
    for (const std::uint8_t minor : {11, 12}) {
        FakeInterpreter fake(layout_of(minor));
        Walk walk(fake, 3);
        FakeFrames source(fake);
        source.torn = walk.start().cframe;
        REQUIRE(source.torn.size() == sizeof(RemoteAddr));
        const StackOutcome outcome = walk.from(source);
        CHECK(outcome.end == StackEnd::kUnreadable);
        CHECK(code_of(outcome) == ErrorCode::kCorruptData);
        CHECK(walk.frames.empty());
    }
}

TEST_CASE("a C frame without frames is the end only in the thread state") {
    for (const std::uint8_t minor : {11, 12}) {
        FakeInterpreter fake(layout_of(minor));
        Walk walk(fake, 3);
        fake.set_top(walk.thread, {});
        CHECK(walk.run().end == StackEnd::kUnreadable);
        fake.leave_python(walk.thread);
        CHECK(walk.run().end == StackEnd::kNoPython);
    }
}

TEST_CASE("a thread that runs no Python code has no frames, whatever the limit") {
    for_each_version([](FakeInterpreter& fake) {
        Walk walk(fake, 3);
        fake.leave_python(walk.thread);
        CHECK(walk.run().end == StackEnd::kNoPython);
        CHECK(walk.run(0).end == StackEnd::kNoPython);
        CHECK(walk.frames.empty());
    });
}

TEST_CASE("a walk stops where the source knows the rest, and ends as that does") {
    for_each_version([](FakeInterpreter& fake) {
        Walk walk(fake, 5);
        KnownFrames source(fake);
        source.known = fake.frame(walk.base, 2);
        CHECK(walk.from(source, 7).end == StackEnd::kDepthLimit);
        REQUIRE(walk.frames.size() == 2);
        CHECK(walk.frames[1].address == fake.frame(walk.base, 3));
        CHECK(source.rooms == std::vector<std::size_t>{7, 6, 5});
    });
}
