#include "sampling/thread_prover.h"

#include <doctest/doctest.h>
#include <sched.h>
#include <unistd.h>

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "support/eventually.h"
#include "support/fake_program.h"
#include "support/moving_memory.h"
#include "support/stopping_child.h"

using namespace pystack;
using namespace pystack::sampling;
using model::StackEnd;
using pystack::testing::Child;
using pystack::testing::eventually;
using pystack::testing::FakeProgram;
using pystack::testing::FakeRuntime;
using pystack::testing::for_each_version;
using pystack::testing::layout_of;
using pystack::testing::MovingMemory;

namespace {

constexpr std::uint64_t kMs = 1'000'000;
constexpr std::int32_t kCoroutine = 0x80;  // CO_COROUTINE

/// One thread of a fake target, and all that samples it.
struct Sampling {
    explicit Sampling(FakeRuntime& of, double rate_hz = 100, std::int32_t pid = 1)
        : fake(of),
          program(of),
          memory(of.memory()),
          stacks(memory, of.layout, 1000),
          codes(memory, of.layout),
          interner(codes),
          validator(memory, codes, interner),
          interpreters(memory, of.runtime, stacks.format()),
          prover(pid, rate_hz) {
        address = program.add_thread(1, {});
        prover.use({stacks, codes, interner, validator, interpreters});
    }

    void run(const std::vector<std::string>& functions) {
        const RemoteAddr base = program.run(address, functions);
        if (base) outermost = base;
    }

    ThreadProver::Outcome sample(std::int32_t tid = 0) {
        interpreters.read();
        prover.begin_tick(now_ns);
        return prover.sample(thread, interpreters.threads().at(0), tid, {.batch = empty});
    }

    /// Until a proof was good enough for calls that were never seen before.
    bool sees(StackEnd end) {
        return eventually([&] { return sample().end == end; });
    }

    std::vector<std::string> names() const {
        std::vector<std::string> found;
        const auto& rows = interner.stacks().rows();
        for (model::StackId id = thread.stack.id(); id != 0; id = rows[id].parent) {
            const model::FrameRow& row = interner.frames()[rows[id].frame];
            found.insert(found.begin(), interner.strings().rows()[row.function]);
        }
        return found;
    }
    std::vector<std::string> qualified(std::vector<std::string> functions) const {
        for (std::string& function : functions) function = program.qualified(function);
        return functions;
    }

    /// From now on the outermost frame, a caller, is another at each look.
    void keep_moving() {
        memory.moves = [this, offset = std::int64_t{0}](std::size_t, std::size_t) mutable {
            const auto& place = fake.layout.interpreter_frame.instr_ptr;
            const RemoteAddr at = outermost + *place;
            offset = (offset + 2) % (2 * pystack::testing::FakeCodes::kUnits);
            const cpython::RawFrame frame = program.codes.frame(program.code("outer"), offset);
            if (fake.is_index()) {
                fake.memory().put(at, static_cast<std::int32_t>(frame.instruction));
            } else {
                fake.memory().put(at, frame.instruction);
            }
        };
    }

    FakeRuntime& fake;
    FakeProgram program;
    MovingMemory memory;
    cpython::StackReader stacks;
    cpython::CodeReader codes;
    FrameInterner interner;
    CodeValidator validator;
    cpython::CachedInterpreters interpreters;
    ThreadProver prover;
    RemoteAddr address;
    RemoteAddr outermost;
    TrackedThread thread;
    memory::ReadBatch empty;
    std::uint64_t now_ns = 1000 * kMs;
};

int cpus_allowed() {
    cpu_set_t set{};
    ::sched_getaffinity(0, sizeof set, &set);
    return CPU_COUNT(&set);
}

}  // namespace

TEST_CASE("a stack is proved with its names, and is the same at the next sample") {
    for_each_version<FakeRuntime>([](FakeRuntime& fake) {
        Sampling sampling(fake);
        sampling.run({"outer", "inner"});
        REQUIRE(sampling.sees(StackEnd::kComplete));
        CHECK(sampling.names() == sampling.qualified({"outer", "inner"}));
        const auto again = sampling.sample();
        CHECK(again.end == StackEnd::kComplete);
        CHECK_FALSE(again.moved);
    });
}

TEST_CASE("a stack that moved is said to have moved, and is another") {
    for_each_version<FakeRuntime>([](FakeRuntime& fake) {
        Sampling sampling(fake);
        sampling.run({"outer", "inner"});
        REQUIRE(sampling.sees(StackEnd::kComplete));
        const model::StackId before = sampling.thread.stack.id();
        sampling.run({"outer"});
        auto outcome = sampling.sample();
        CHECK(outcome.moved);
        CHECK(outcome.end == StackEnd::kComplete);
        CHECK(sampling.names() == sampling.qualified({"outer"}));
        CHECK(sampling.thread.stack.id() != before);
        sampling.run({});
        outcome = sampling.sample();
        CHECK(outcome.moved);
        CHECK(outcome.end == StackEnd::kNoPython);
        CHECK(sampling.thread.stack.id() == 0);
    });
}

TEST_CASE("a thread that two proofs saw in the same place is quiet, until it moves") {
    for_each_version<FakeRuntime>([](FakeRuntime& fake) {
        Sampling sampling(fake);
        sampling.run({"outer", "inner"});
        REQUIRE(sampling.sees(StackEnd::kComplete));
        CHECK(eventually([&] {
            const auto outcome = sampling.sample();
            return outcome.end == StackEnd::kComplete && sampling.thread.is_quiet();
        }));
        sampling.run({"outer"});
        sampling.sample();
        CHECK_FALSE(sampling.thread.is_quiet());
    });
}

TEST_CASE("a quiet thread that the tick's batch finds unchanged is not read again") {
    for_each_version<FakeRuntime>([](FakeRuntime& fake) {
        Sampling sampling(fake);
        sampling.run({"outer", "inner"});
        REQUIRE(eventually([&] { return sampling.sample().moved == false; }));
        const auto look = [&] {
            memory::ReadBatch batch;
            sampling.validator.begin_use();
            sampling.validator.use(sampling.thread.stack);
            sampling.validator.add_to(batch, true);
            sampling.thread.asked = TrackedThread::Asked::kLook;
            sampling.thread.first_piece = sampling.stacks.add_look(sampling.thread.plan, batch);
            batch.read(sampling.memory);
            sampling.validator.accept(batch, sampling.interpreters);
            sampling.prover.begin_tick(sampling.now_ns);
            return sampling.prover.sample(sampling.thread, sampling.interpreters.threads().at(0), 0,
                                          {.batch = batch, .holds = true});
        };
        look();
        const auto seen = look();
        CHECK(seen.end == StackEnd::kComplete);
        CHECK_FALSE(seen.moved);
        sampling.run({"outer"});
        const auto moved = look();
        CHECK(moved.end == StackEnd::kComplete);
        CHECK(moved.moved);
        CHECK(sampling.names() == sampling.qualified({"outer"}));
    });
}

TEST_CASE("a stack that never stands still is torn, and forgets that it was quiet") {
    for_each_version<FakeRuntime>([](FakeRuntime& fake) {
        Sampling sampling(fake);
        sampling.run({"outer", "inner"});
        REQUIRE(eventually([&] { return sampling.sample().moved == false; }));
        sampling.thread.note_sample(true);
        sampling.thread.note_sample(true);
        REQUIRE(sampling.thread.is_quiet());
        sampling.keep_moving();
        const auto begin = std::chrono::steady_clock::now();
        const auto outcome = sampling.sample();
        CHECK(outcome.end == StackEnd::kTorn);
        CHECK(outcome.moved);
        CHECK_FALSE(sampling.thread.is_quiet());
        CHECK(std::chrono::steady_clock::now() - begin < std::chrono::seconds(60));
        sampling.memory.moves = nullptr;
        CHECK(sampling.sees(StackEnd::kComplete));
    });
}

TEST_CASE("a stack whose thread state is gone is unreadable") {
    for_each_version<FakeRuntime>([](FakeRuntime& fake) {
        Sampling sampling(fake);
        sampling.run({"outer"});
        REQUIRE(sampling.sees(StackEnd::kComplete));
        cpython::ThreadState gone = sampling.interpreters.threads().at(0);
        gone.address = {0x10};
        sampling.prover.begin_tick(sampling.now_ns);
        const auto outcome =
            sampling.prover.sample(sampling.thread, gone, 0, {.batch = sampling.empty});
        CHECK(outcome.end == StackEnd::kUnreadable);
        CHECK_FALSE(sampling.thread.is_quiet());
    });
}

TEST_CASE("a code object that was replaced gives the sample the new name") {
    for_each_version<FakeRuntime>([](FakeRuntime& fake) {
        Sampling sampling(fake);
        sampling.run({"outer", "inner"});
        REQUIRE(sampling.sees(StackEnd::kComplete));
        sampling.program.codes.fill(sampling.program.code("inner"), "other", "/srv/other.py");
        if (const auto generation = fake.layout.interpreter_state.code_object_generation)
            fake.memory().put(sampling.program.interpreter + *generation, std::uint64_t{1});
        REQUIRE(sampling.sees(StackEnd::kComplete));
        CHECK(sampling.names() == sampling.qualified({"outer", "other"}));
    });
}

TEST_CASE("a thread that begins with a coroutine is believed after many proofs and some time") {
    for_each_version<FakeRuntime>([](FakeRuntime& fake) {
        Sampling sampling(fake);
        fake.memory().put(sampling.program.code("outer") + *fake.layout.code_object.flags,
                          kCoroutine);
        sampling.run({"outer", "inner"});
        // However many proofs: the clock stands.
        for (int i = 0; i < 60; ++i) CHECK(sampling.sample().end == StackEnd::kTorn);
        CHECK(sampling.thread.cut_proofs == 40);
        sampling.now_ns += 100 * kMs - 1;
        CHECK(sampling.sample().end == StackEnd::kTorn);
        sampling.now_ns += 1;
        CHECK(sampling.sample().end == StackEnd::kComplete);
        // One that has a caller ends the belief.
        sampling.run({"caller", "outer"});
        REQUIRE(sampling.sees(StackEnd::kComplete));
        CHECK(sampling.thread.cut_proofs == 0);
        sampling.run({"outer", "inner"});
        CHECK(sampling.sample().end == StackEnd::kTorn);
    });
}

TEST_CASE("of a thread that is too fast the prover takes the CPU, for a thousand ticks") {
    if (cpus_allowed() < 2) return;
    const int all = cpus_allowed();
    const Child child(&pystack::testing::one_thread);
    FakeRuntime fake(layout_of(13));
    Sampling sampling(fake, 100, child.pid);
    sampling.run({"outer", "inner"});
    sampling.keep_moving();
    REQUIRE(eventually([&] {
        CHECK(sampling.sample(child.pid).end == StackEnd::kTorn);
        return cpus_allowed() == 1;
    }));
    sampling.memory.moves = nullptr;
    int ticks = 0;
    while (cpus_allowed() == 1 && ticks < 2000) {
        ++ticks;
        sampling.prover.begin_tick(sampling.now_ns);
    }
    CHECK(ticks == 1000);
    CHECK(cpus_allowed() == all);
}

TEST_CASE("above 10 kHz the prover does not stay at the thread's CPU") {
    if (cpus_allowed() < 2) return;
    const int all = cpus_allowed();
    const Child child(&pystack::testing::one_thread);
    FakeRuntime fake(layout_of(13));
    Sampling sampling(fake, 20'000, child.pid);
    sampling.run({"outer", "inner"});
    sampling.keep_moving();
    for (int i = 0; i < 20; ++i) {
        CHECK(sampling.sample(child.pid).end == StackEnd::kTorn);
        CHECK(cpus_allowed() == all);
    }
}

TEST_CASE("where a third of the ticks come late on the thread's CPU, the prover leaves it") {
    if (cpus_allowed() < 2) return;
    const int all = cpus_allowed();
    const Child child(&pystack::testing::one_thread);
    FakeRuntime fake(layout_of(13));
    Sampling sampling(fake, 100, child.pid);
    sampling.run({"outer", "inner"});
    sampling.keep_moving();
    const auto goes_there = [&] {
        for (int i = 0; i < 20 && cpus_allowed() != 1; ++i) sampling.sample(child.pid);
        return cpus_allowed() == 1;
    };
    REQUIRE(goes_there());
    // One in four is not too many.
    for (int i = 0; i < 1000; ++i) sampling.prover.note_lateness(i % 4 == 0, sampling.now_ns);
    CHECK(cpus_allowed() == 1);
    for (int i = 0; i < 25; ++i) sampling.prover.note_lateness(true, sampling.now_ns);
    CHECK(cpus_allowed() == all);
    sampling.now_ns += 999 * kMs;
    CHECK_FALSE(goes_there());
    sampling.now_ns += 2 * kMs;
    CHECK(goes_there());
    // The second time for twice as long.
    for (int i = 0; i < 25; ++i) sampling.prover.note_lateness(true, sampling.now_ns);
    CHECK(cpus_allowed() == all);
    sampling.now_ns += 1999 * kMs;
    CHECK_FALSE(goes_there());
}
