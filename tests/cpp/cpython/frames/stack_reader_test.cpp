#include "cpython/frames/stack_reader.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include "memory/limited_memory.h"
#include "support/eventually.h"
#include "support/fake_interpreter.h"

using namespace pystack;
using namespace pystack::cpython;
using model::StackEnd;
using pystack::testing::eventually;
using pystack::testing::FakeInterpreter;
using pystack::testing::FakeMemory;
using pystack::testing::for_each_version;

namespace {

constexpr std::size_t kMaxDepth = 1'000'000;
constexpr RemoteAddr kCode{0x5000};

/// A target that runs: `moves(piece)` is called before each piece of a batched read, counted within
/// it.
class MovingTarget final : public memory::MemoryReader {
  public:
    explicit MovingTarget(const FakeMemory& memory) : memory_(memory) {}

    std::size_t read_up_to(RemoteAddr address, std::span<std::byte> destination) const override {
        return memory_.read_up_to(address, destination);
    }

    void read_many(std::span<memory::ReadRequest> requests) const override {
        const bool is_proof =
            requests.size() > 2;  // Those of a standing target are one page, or two.
        for (std::size_t i = 0; i < requests.size(); ++i) {
            if (is_proof && moves) moves(i, requests.size());
            requests[i].done = memory_.read_up_to(requests[i].address, requests[i].destination);
            bytes += requests[i].done;
        }
    }

    std::function<void(std::size_t piece, std::size_t pieces)> moves;
    mutable std::size_t bytes = 0;  ///< Read in batches.

  private:
    const FakeMemory& memory_;
};

struct MovingStack {
    explicit MovingStack(FakeInterpreter& of, std::size_t depth) : fake(of), target(of.memory()) {
        thread = fake.add_thread(fake.add_interpreter(0), 1);
        base = fake.stack(thread, depth, kCode);
        StackReader(fake.memory(), fake.layout, kMaxDepth).read_stopped(thread, truth);
    }

    StackOutcome read(int attempts) {
        StackReader reader(target, fake.layout, kMaxDepth);
        return reader.read_running(thread, plan, attempts, frames);
    }

    FakeInterpreter& fake;
    MovingTarget target;
    RemoteAddr thread;
    RemoteAddr base;
    ReadPlan plan;
    std::vector<RawFrame> truth;
    std::vector<RawFrame> frames;
};

/// Those that run Python code.
std::vector<RawFrame> without_shims(std::vector<RawFrame> frames) {
    std::erase_if(frames, [](const RawFrame& frame) { return frame.shim; });
    return frames;
}

/// What FakeInterpreter::Frame::calls is of a frame that runs: below 3.11 it is marked as
/// executing.
bool marks_running(const FakeInterpreter& fake) {
    return fake.layout.entry_mark == EntryMark::kNone;
}

/// Between the first copies of the frames and the thread state, which is in the middle.
bool is_middle(std::size_t piece, std::size_t pieces) {
    return piece == pieces / 2;
}

}  // namespace

TEST_CASE("frames of a standing target, innermost first") {
    for_each_version([](FakeInterpreter& fake) {
        const RemoteAddr thread = fake.add_thread(fake.add_interpreter(0), 1);
        StackReader reader(fake.memory(), fake.layout, kMaxDepth);
        std::vector<RawFrame> frames;
        const RemoteAddr base = fake.stack(thread, 3, kCode);
        CHECK(reader.read_stopped(thread, frames).end == StackEnd::kComplete);
        REQUIRE(frames.size() == 3 + fake.has_shims());
        CHECK(frames.back().shim == fake.has_shims());
        frames = without_shims(frames);
        REQUIRE(frames.size() == 3);
        for (std::size_t i = 0; i < 3; ++i) {
            CHECK(frames[i].address == fake.frame(base, 2 - i));
            CHECK(frames[i].code == kCode);
            CHECK(frames[i].instruction == 2 * (2 - i));
            CHECK(frames[i].calls == (i > 0 || fake.running_frames_call()));
        }
        CHECK(frames[2].is_entry == fake.layout.interpreter_frame.is_entry.has_value());
    });
}

TEST_CASE("compiled frames have the lines of their frame objects") {
    for_each_version([](FakeInterpreter& fake) {
        const RemoteAddr thread = fake.add_thread(fake.add_interpreter(0), 1);
        const RemoteAddr outer = fake.compiled_frame({}, kCode, 111);
        const RemoteAddr inner = fake.compiled_frame(outer, kCode, 222);
        fake.set_top(thread, inner);
        StackReader reader(fake.memory(), fake.layout, kMaxDepth);
        std::vector<RawFrame> frames;
        CHECK(reader.read_stopped(thread, frames).end == StackEnd::kComplete);
        REQUIRE(frames.size() == 2);
        CHECK(frames[0].compiled);
        CHECK(frames[0].line == 222);
        CHECK(frames[1].line == 111);

        // The same plan sees each line.
        ReadPlan plan;
        for (const std::int32_t line : {222, 333, 444}) {
            fake.set_line(inner, line);
            CHECK(reader.read_running(thread, plan, 10, frames).end == StackEnd::kComplete);
            REQUIRE(frames.size() == 2);
            CHECK(frames[0].line == line);
            CHECK(frames[1].line == 111);
        }
        fake.set_line(outer, 112);
        CHECK(reader.read_running(thread, plan, 10, frames).end == StackEnd::kComplete);
        CHECK(frames.back().line == 112);
    });
}

TEST_CASE("the line of a compiled caller that changes between the copies is noticed") {
    for_each_version([](FakeInterpreter& fake) {
        const RemoteAddr thread = fake.add_thread(fake.add_interpreter(0), 1);
        const RemoteAddr outer = fake.compiled_frame({}, kCode, 111);
        fake.set_top(thread, fake.compiled_frame(outer, kCode, 222));
        MovingTarget target(fake.memory());
        StackReader reader(target, fake.layout, kMaxDepth);
        ReadPlan plan;
        std::vector<RawFrame> frames;
        CHECK(reader.read_running(thread, plan, 10, frames).end == StackEnd::kComplete);
        std::int32_t line = 111;
        target.moves = [&](std::size_t piece, std::size_t pieces) {
            if (piece == pieces / 2) fake.set_line(outer, ++line);
        };
        CHECK(reader.read_running(thread, plan, 3, frames).end == StackEnd::kTorn);
    });
}

TEST_CASE("a frame object that does not belong to a frame is no line of it") {
    for_each_version([](FakeInterpreter& fake) {
        const Layout& layout = fake.layout;
        if (!layout.frame_object.frame) return;
        const RemoteAddr thread = fake.add_thread(fake.add_interpreter(0), 1);
        const RemoteAddr frame = fake.compiled_frame({}, kCode, 111);
        fake.set_top(thread, frame);
        fake.memory().put(frame - FakeInterpreter::kObjectDistance + *layout.frame_object.frame,
                          frame + 8);
        StackReader reader(fake.memory(), fake.layout, kMaxDepth);
        std::vector<RawFrame> frames;
        CHECK(reader.read_stopped(thread, frames).end == StackEnd::kUnreadable);
        CHECK(frames.empty());
    });
}

TEST_CASE("an instruction index below zero stays below zero") {
    for (const std::uint8_t minor : {6, 10}) {
        FakeInterpreter fake(pystack::testing::layout_of(minor));
        const RemoteAddr thread = fake.add_thread(fake.add_interpreter(0), 1);
        const RemoteAddr base = fake.stack(thread, 1, kCode);
        fake.put_frame(base, {.code = kCode, .instruction = static_cast<std::uint64_t>(-1)});
        std::vector<RawFrame> frames;
        StackReader(fake.memory(), fake.layout, kMaxDepth).read_stopped(thread, frames);
        REQUIRE(frames.size() == 1);
        CHECK(static_cast<std::int64_t>(frames[0].instruction) == -1);
    }
}

TEST_CASE("shims run no code and need none") {
    for_each_version([](FakeInterpreter& fake) {
        if (!fake.has_shims()) return;
        const RemoteAddr thread = fake.add_thread(fake.add_interpreter(0), 1);
        const RemoteAddr base = fake.stack(thread, 3, kCode);
        fake.put_frame(fake.frame(base, 1),
                       {.previous = base, .owner = fake.layout.first_shim_owner});
        std::vector<RawFrame> frames;
        StackReader reader(fake.memory(), fake.layout, kMaxDepth);
        CHECK(reader.read_stopped(thread, frames).end == StackEnd::kComplete);
        REQUIRE(frames.size() == 4);
        CHECK_FALSE(frames[0].shim);
        CHECK(frames[1].shim);
        CHECK_FALSE(frames[2].shim);
        CHECK(frames[3].shim);
    });
}

TEST_CASE("a chain that ends where no chain can end is not complete") {
    for_each_version([](FakeInterpreter& fake) {
        if (fake.layout.entry_mark == EntryMark::kNone) return;
        const RemoteAddr thread = fake.add_thread(fake.add_interpreter(0), 1);
        const RemoteAddr base = fake.stack(thread, 3, kCode);
        fake.memory().put(fake.frame(base, 1) + *fake.layout.interpreter_frame.previous,
                          RemoteAddr{});
        StackReader reader(fake.memory(), fake.layout, kMaxDepth);
        std::vector<RawFrame> frames;
        const StackOutcome outcome = reader.read_stopped(thread, frames);
        CHECK(outcome.end == StackEnd::kUnreadable);
        REQUIRE(outcome.problem);
        CHECK(outcome.problem->code == ErrorCode::kCorruptData);
        CHECK(frames.size() == 2);
        ReadPlan plan;
        CHECK(reader.read_running(thread, plan, 20, frames).end == StackEnd::kTorn);
    });
}

TEST_CASE("tags of references are no part of an address") {
    FakeInterpreter fake(pystack::testing::layout_of(15));
    const RemoteAddr thread = fake.add_thread(fake.add_interpreter(0), 1);
    fake.stack(thread, 1, kCode + 1);
    std::vector<RawFrame> frames;
    StackReader(fake.memory(), fake.layout, kMaxDepth).read_stopped(thread, frames);
    REQUIRE(frames.size() == 2);
    CHECK(frames[0].code == kCode);
}

TEST_CASE("chains that are rings end") {
    for_each_version([](FakeInterpreter& fake) {
        const RemoteAddr thread = fake.add_thread(fake.add_interpreter(0), 1);
        const RemoteAddr base = fake.stack(thread, 100, kCode);
        StackReader reader(fake.memory(), fake.layout, kMaxDepth);
        std::vector<RawFrame> frames;
        for (const std::size_t back_to : {0, 1, 2, 3, 50, 98, 99}) {
            CAPTURE(back_to);
            fake.memory().put(base + *fake.layout.interpreter_frame.previous,
                              fake.frame(base, back_to));
            const StackOutcome outcome = reader.read_stopped(thread, frames);
            CHECK(outcome.end == StackEnd::kUnreadable);
            REQUIRE(outcome.problem);
            CHECK(outcome.problem->code == ErrorCode::kCorruptData);
            CHECK(frames.size() >= 100);
            CHECK(frames.size() < 1000);
        }
    });
}

TEST_CASE("a frame that makes no sense ends the stack and keeps what was read") {
    using Fields = FakeInterpreter::Frame;
    const std::pair<const char*, std::function<void(FakeInterpreter&, RemoteAddr)>> cases[] = {
        {"misaligned",
         [](FakeInterpreter& fake, RemoteAddr base) {
             fake.put_frame(fake.frame(base, 2), Fields{.previous = base + 3, .code = kCode});
         }},
        {"unmapped",
         [](FakeInterpreter& fake, RemoteAddr base) {
             fake.put_frame(fake.frame(base, 2), Fields{.previous = {0x10}, .code = kCode});
         }},
        {"at the end of the address space",
         [](FakeInterpreter& fake, RemoteAddr base) {
             fake.put_frame(fake.frame(base, 2),
                            Fields{.previous = {~std::uint64_t{7}}, .code = kCode});
         }},
        {"without code",
         [](FakeInterpreter& fake, RemoteAddr base) {
             fake.put_frame(fake.frame(base, 1), Fields{.previous = base, .code = {}});
         }},
        {"of an owner that there is not",
         [](FakeInterpreter& fake, RemoteAddr base) {
             Fields fields{.previous = base, .code = kCode, .owner = 5};
             if (!fake.layout.interpreter_frame.owner) fields.code = {};
             fake.put_frame(fake.frame(base, 1), fields);
         }},
    };
    for (const auto& [what, damage] : cases) {
        CAPTURE(what);
        for_each_version([&](FakeInterpreter& fake) {
            const RemoteAddr thread = fake.add_thread(fake.add_interpreter(0), 1);
            const RemoteAddr base = fake.stack(thread, 3, kCode);
            damage(fake, base);
            std::vector<RawFrame> frames;
            const StackOutcome outcome =
                StackReader(fake.memory(), fake.layout, kMaxDepth).read_stopped(thread, frames);
            CHECK(outcome.end == StackEnd::kUnreadable);
            REQUIRE(outcome.problem);
            CHECK((outcome.problem->code == ErrorCode::kCorruptData ||
                   outcome.problem->code == ErrorCode::kReadFault));
            REQUIRE(frames.size() == 1);
            CHECK(frames[0].address == fake.frame(base, 2));
        });
    }
}

TEST_CASE("a thread state that cannot be read is an unreadable stack") {
    for_each_version([](FakeInterpreter& fake) {
        StackReader reader(fake.memory(), fake.layout, kMaxDepth);
        std::vector<RawFrame> frames;
        ReadPlan plan;
        for (const RemoteAddr nowhere :
             {RemoteAddr{}, RemoteAddr{0x10}, RemoteAddr{~std::uint64_t{7}}}) {
            CHECK(reader.read_stopped(nowhere, frames).end == StackEnd::kUnreadable);
            const StackOutcome moving = reader.read_running(nowhere, plan, 10, frames);
            CHECK(moving.end == StackEnd::kUnreadable);
            REQUIRE(moving.problem);
            CHECK(moving.problem->code == ErrorCode::kReadFault);
        }
    });
}

TEST_CASE("no proof is begun after the deadline") {
    for_each_version([](FakeInterpreter& fake) {
        constexpr std::size_t kDepth = 2000;
        const RemoteAddr thread = fake.add_thread(fake.add_interpreter(0), 1);
        const RemoteAddr base = fake.stack(thread, kDepth, kCode);
        fake.put_frame(base, {.previous = fake.frame(base, kDepth - 1), .code = kCode});  // A ring.
        const auto limits = std::make_shared<WorkLimits>();
        const memory::LimitedMemory memory(fake.memory(), limits);
        StackReader reader(memory, fake.layout, kMaxDepth);
        ReadPlan plan;
        std::vector<RawFrame> frames;
        CHECK(reader.read_running(thread, plan, 20, frames).attempts == 20);
        limits->end_at(WorkLimits::Clock::now());
        CHECK(reader.read_running(thread, plan, 20, frames).attempts < 10);
        CHECK(limits->timed_out());
    });
}

TEST_CASE("a stack is cut where its proof would take more memory than allowed") {
    for_each_version([](FakeInterpreter& fake) {
        constexpr std::size_t kDepth = 5000;
        constexpr std::uint64_t kMostBytes = 1 << 20;
        constexpr std::uint64_t kFarApart = 2000;
        const RemoteAddr thread = fake.add_thread(fake.add_interpreter(0), 1);
        StackReader reader(fake.memory(), fake.layout, kMaxDepth);
        std::vector<RawFrame> frames;
        std::vector<std::size_t> sizes;
        for (const std::uint64_t distance : {fake.frame_size(), kFarApart}) {
            const RemoteAddr base = fake.allocate(kDepth * distance);
            for (std::size_t i = 0; i < kDepth; ++i) {
                const RemoteAddr caller = i == 0 ? fake.shim() : base + (i - 1) * distance;
                fake.put_frame(base + i * distance,
                               {.previous = caller,
                                .code = kCode,
                                .calls = i + 1 < kDepth || fake.running_frames_call(),
                                .is_entry = i == 0});
            }
            fake.set_top(thread, base + (kDepth - 1) * distance);
            ReadPlan plan;
            const auto read = [&](std::uint64_t most_bytes) {
                return reader.read_running(thread, plan, 1000, frames, most_bytes);
            };
            REQUIRE(eventually([&] { return read(kMostBytes).end == StackEnd::kDepthLimit; }));
            CHECK(frames.front().address == base + (kDepth - 1) * distance);
            sizes.push_back(frames.size());
            plan.clear();
            REQUIRE(eventually([&] { return read(UINT64_MAX).end == StackEnd::kComplete; }));
            CHECK(frames.size() >= kDepth);
        }
        CHECK(sizes[0] * ReadPlan::kFrameBytes <= kMostBytes);
        CHECK(sizes[1] * kFarApart * 2 <= kMostBytes);
        CHECK(sizes[1] < sizes[0]);
        CHECK(sizes[1] > 10);
    });
}

TEST_CASE("a stack that was cut is not complete when it is proved again") {
    for_each_version([](FakeInterpreter& fake) {
        const RemoteAddr thread = fake.add_thread(fake.add_interpreter(0), 1);
        fake.stack(thread, 200, kCode);
        StackReader reader(fake.memory(), fake.layout, 100);
        ReadPlan plan;
        for (int proof = 0; proof < 3; ++proof) {
            REQUIRE(eventually(
                [&] { return reader.prove(thread, plan, 1000, false).end != StackEnd::kTorn; }));
            CHECK(plan.frames().size() == 100);
            CHECK(reader.prove(thread, plan, 1000, false).end == StackEnd::kDepthLimit);
        }
    });
}

TEST_CASE("deep stacks: read to the end in few reads, or to the limit") {
    for_each_version([](FakeInterpreter& fake) {
        constexpr std::size_t kDepth = 100'000;
        const RemoteAddr thread = fake.add_thread(fake.add_interpreter(0), 1);
        fake.stack(thread, kDepth, kCode);
        std::vector<RawFrame> frames;
        const std::size_t before = fake.memory().calls();
        CHECK(StackReader(fake.memory(), fake.layout, kMaxDepth).read_stopped(thread, frames).end ==
              StackEnd::kComplete);
        CHECK(without_shims(frames).size() == kDepth);
        CHECK(fake.memory().calls() - before < kDepth / 8);

        const StackOutcome cut =
            StackReader(fake.memory(), fake.layout, 1000).read_stopped(thread, frames);
        CHECK(cut.end == StackEnd::kDepthLimit);
        CHECK(frames.size() == 1000);
    });
}

TEST_CASE("random memory ends in time, in one of the known ways") {
    std::mt19937_64 random(3);
    for (int round = 0; round < 50; ++round) {
        for_each_version([&](FakeInterpreter& fake) {
            const RemoteAddr thread = fake.add_thread(fake.add_interpreter(0), 1);
            constexpr std::size_t kBytes = 16384;
            const RemoteAddr base = fake.frames(kBytes / fake.frame_size() + 1);
            for (std::size_t at = 0; at + 8 <= kBytes; at += 8) {
                // Mostly pointers into the same memory, so that chains are long.
                const std::uint64_t word =
                    random() % 4 == 0 ? random() : base.value + random() % (kBytes / 8) * 8;
                fake.memory().put(base + at, word);
            }
            fake.set_top(thread, base + random() % (kBytes / 16) * 8);
            StackReader reader(fake.memory(), fake.layout, 10'000);
            std::vector<RawFrame> frames;
            ReadPlan plan;
            const StackOutcome still = reader.read_stopped(thread, frames);
            CHECK(still.problem.has_value() == (still.end == StackEnd::kUnreadable));
            CHECK(frames.size() <= 10'000);
            reader.read_running(thread, plan, 5, frames);
            CHECK(frames.size() <= 10'000);
        });
    }
}

TEST_CASE("a stack that stands still is proved, and the plan serves again") {
    for_each_version([](FakeInterpreter& fake) {
        for (const std::size_t depth : {1, 2, 7, 300}) {
            CAPTURE(depth);
            MovingStack stack(fake, depth);
            for (int time = 0; time < 3; ++time) {
                // Many attempts: one that took too long, on a machine with other work, is not
                // accepted.
                CHECK(stack.read(1000).end == StackEnd::kComplete);
                CHECK(stack.frames == stack.truth);
            }
        }
    });
}

TEST_CASE("a thread without frames is proved to have none") {
    for_each_version([](FakeInterpreter& fake) {
        MovingStack stack(fake, 1);
        fake.leave_python(stack.thread);
        CHECK(stack.read(1000).end == StackEnd::kNoPython);
        CHECK(stack.frames.empty());
        StackReader reader(fake.memory(), fake.layout, kMaxDepth);
        CHECK(reader.read_stopped(stack.thread, stack.frames).end == StackEnd::kNoPython);
        CHECK(stack.frames.empty());
    });
}

TEST_CASE("a C frame that is being entered is not the end of a stack") {
    for_each_version([](FakeInterpreter& fake) {
        if (fake.layout.frame_chain != FrameChain::kCFrame) return;
        MovingStack stack(fake, 3);
        fake.set_top(stack.thread, {});
        CHECK(stack.read(10).end == StackEnd::kTorn);
        StackReader reader(fake.memory(), fake.layout, kMaxDepth);
        CHECK(reader.read_stopped(stack.thread, stack.frames).end == StackEnd::kUnreadable);
    });
}

TEST_CASE("an innermost frame that runs on does not matter") {
    for_each_version([](FakeInterpreter& fake) {
        MovingStack stack(fake, 5);
        const RemoteAddr running = fake.frame(stack.base, 4);
        std::uint64_t instruction = 8;
        stack.target.moves = [&](std::size_t, std::size_t) {
            instruction += 2;
            fake.put_frame(running, {.previous = fake.frame(stack.base, 3),
                                     .code = kCode,
                                     .instruction = instruction,
                                     .calls = marks_running(fake)});
        };
        CHECK(stack.read(1000).end == StackEnd::kComplete);
        CHECK(without_shims(stack.frames).size() == 5);
    });
}

TEST_CASE("a caller that changes between the copies is not accepted") {
    for_each_version([](FakeInterpreter& fake) {
        MovingStack stack(fake, 5);
        const RemoteAddr caller = fake.frame(stack.base, 2);
        std::uint64_t instruction = 4;
        stack.target.moves = [&](std::size_t piece, std::size_t pieces) {
            if (!is_middle(piece, pieces)) return;
            instruction += 2;
            fake.put_frame(
                caller,
                {.previous = fake.frame(stack.base, 1), .code = kCode, .instruction = instruction});
        };
        const StackOutcome outcome = stack.read(20);
        CHECK(outcome.end == StackEnd::kTorn);
        CHECK(outcome.attempts == 20);
    });
}

TEST_CASE("a variable of a caller that changes between the copies is noticed") {
    for_each_version([](FakeInterpreter& fake) {
        // Below 3.11 frames are objects of their own, and only their heads are read.
        if (fake.layout.frame_chain == FrameChain::kFrameObject) return;
        MovingStack stack(fake, 5);
        const RemoteAddr variable =
            fake.frame(stack.base, 2) + fake.layout.interpreter_frame.struct_size;
        std::uint64_t value = 0;
        stack.target.moves = [&](std::size_t piece, std::size_t pieces) {
            if (is_middle(piece, pieces)) fake.memory().put(variable, ++value);
        };
        CHECK(stack.read(20).end == StackEnd::kTorn);
    });
}

TEST_CASE("an innermost frame that becomes another one is not accepted") {
    for_each_version([](FakeInterpreter& fake) {
        MovingStack stack(fake, 5);
        const RemoteAddr running = fake.frame(stack.base, 4);
        std::uint64_t code = kCode.value;
        stack.target.moves = [&](std::size_t piece, std::size_t pieces) {
            if (!is_middle(piece, pieces)) return;
            code += 0x100;
            fake.put_frame(running, {.previous = fake.frame(stack.base, 3),
                                     .code = {code},
                                     .instruction = 8,
                                     .calls = marks_running(fake)});
        };
        CHECK(stack.read(20).end == StackEnd::kTorn);
    });
}

TEST_CASE("a thread that has moved to frames that were not read is not accepted") {
    for_each_version([](FakeInterpreter& fake) {
        MovingStack stack(fake, 5);
        // Somewhere new each time: where it was before is read as well.
        std::vector<RemoteAddr> elsewhere;
        for (int i = 0; i <= 20; ++i) {
            elsewhere.push_back(fake.stack(stack.thread, 3, kCode + 0x100));
        }
        fake.set_top(stack.thread, fake.frame(stack.base, 4));
        std::size_t moved = 0;
        stack.target.moves = [&](std::size_t piece, std::size_t) {
            if (piece == 0) fake.set_top(stack.thread, fake.frame(elsewhere[++moved], 2));
        };
        CHECK(stack.read(20).end == StackEnd::kTorn);
        CHECK(moved == 20);
    });
}

TEST_CASE("a caller that does not stand at a call has returned") {
    for_each_version([](FakeInterpreter& fake) {
        MovingStack stack(fake, 5);
        fake.put_calls(fake.frame(stack.base, 2), false);
        CHECK(stack.read(20).end == StackEnd::kTorn);
        if (fake.layout.entry_mark == EntryMark::kNone) return;

        // Unless what it called runs in an activation of its own.
        FakeInterpreter::Frame callee{
            .previous = fake.frame(stack.base, 2), .code = kCode, .is_entry = true};
        if (fake.has_shims()) callee.owner = fake.layout.first_shim_owner;
        fake.put_frame(fake.frame(stack.base, 3), callee);
        CHECK(stack.read(1000).end == StackEnd::kComplete);
    });
}

TEST_CASE("a stack that comes to rest is accepted then, as it is then") {
    for_each_version([](FakeInterpreter& fake) {
        MovingStack stack(fake, 5);
        int moves = 0;
        stack.target.moves = [&](std::size_t piece, std::size_t pieces) {
            if (!is_middle(piece, pieces) || ++moves > 10) return;
            fake.put_frame(fake.frame(stack.base, 1),
                           {.previous = stack.base,
                            .code = kCode + 0x100u * static_cast<unsigned>(moves),
                            .instruction = 2});
        };
        const StackOutcome outcome = stack.read(1000);
        CHECK(outcome.end == StackEnd::kComplete);
        CHECK(outcome.attempts > 10);
        REQUIRE(without_shims(stack.frames).size() == 5);
        CHECK(stack.frames[3].code == kCode + 0x100u * 10);
    });
}

TEST_CASE("a deep stack is copied once where it was proved just before, and what changed is seen") {
    for_each_version([](FakeInterpreter& fake) {
        constexpr std::size_t kDepth = 400;
        MovingStack stack(fake, kDepth);
        StackReader reader(stack.target, fake.layout, kMaxDepth);
        const auto prove = [&](int attempts) {
            stack.target.bytes = 0;
            return reader.prove(stack.thread, stack.plan, attempts, false).end;
        };
        // A busy machine may take the processor away in a read, which then proves nothing.
        const auto is_proved = [&] { return prove(3) == StackEnd::kComplete; };
        const auto is_proved_later = [&] {
            std::this_thread::sleep_for(std::chrono::milliseconds(1));
            return prove(1) == StackEnd::kComplete;
        };
        REQUIRE(eventually(is_proved));
        REQUIRE(eventually(is_proved_later));
        const std::size_t both = stack.target.bytes;
        const RemoteAddr caller = fake.frame(stack.base, 3);
        const RemoteAddr place = caller + *fake.layout.interpreter_frame.instr_ptr;
        const auto seen = [&] {
            const auto frames = stack.plan.frames();
            const auto found = std::find_if(frames.begin(), frames.end(),
                                            [&](const RawFrame& f) { return f.address == caller; });
            REQUIRE(found != frames.end());
            return found->instruction;
        };
        const auto is_short = [&] {
            // The second right after the first.
            return prove(3) == StackEnd::kComplete && prove(1) == StackEnd::kComplete &&
                   stack.target.bytes < both * 2 / 3;
        };
        for (std::uint64_t instruction = 1000; instruction < 1020; instruction += 2) {
            REQUIRE(eventually(is_short));
            if (fake.is_index()) {
                fake.memory().put(place, static_cast<std::int32_t>(instruction));
            } else {
                fake.memory().put(place, instruction);
            }
            const auto before = seen();
            if (prove(1) == StackEnd::kComplete) CHECK(seen() != before);
            REQUIRE(eventually(is_proved));
            CHECK(seen() != before);
        }
    });
}

TEST_CASE("a read that took longer than others is not one moment") {
    FakeInterpreter fake(pystack::testing::layout_of(13));
    MovingStack stack(fake, 5);
    StackReader reader(stack.target, fake.layout, kMaxDepth);
    REQUIRE(reader.read_running(stack.thread, stack.plan, 1000, stack.frames).end ==
            StackEnd::kComplete);
    stack.target.moves = [](std::size_t piece, std::size_t) {
        if (piece == 1) std::this_thread::sleep_for(std::chrono::milliseconds(20));
    };
    const StackOutcome outcome = reader.read_running(stack.thread, stack.plan, 5, stack.frames);
    CHECK(outcome.end == StackEnd::kTorn);
    CHECK(outcome.attempts == 5);
}

TEST_CASE("a ring or a damaged chain is no proof of anything, and ends") {
    for_each_version([](FakeInterpreter& fake) {
        MovingStack stack(fake, 5);
        fake.memory().put(stack.base + *fake.layout.interpreter_frame.previous,
                          fake.frame(stack.base, 4));
        StackOutcome outcome;
        // On a busy machine all readings of a round can be too slow for a proof.
        for (int round = 0; round < 1000; ++round) {
            outcome = stack.read(20);
            CHECK(outcome.attempts <= 20);
            if (outcome.end != StackEnd::kTorn || outcome.problem) break;
        }
        CHECK(outcome.end != StackEnd::kComplete);
        REQUIRE(outcome.problem);
    });
}
