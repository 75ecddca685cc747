#include "sampling/code_validator.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "sampling/frame_interner.h"
#include "support/fake_codes.h"
#include "support/fake_runtime.h"
#include "support/moving_memory.h"

using namespace pystack;
using namespace pystack::sampling;
using namespace pystack::cpython;
using cpython::RawFrame;
using pystack::testing::FakeCodes;
using pystack::testing::FakeRuntime;
using pystack::testing::for_each_version;
using pystack::testing::MovingMemory;
using Outcome = FrameInterner::Outcome;

namespace {

/// One thread's frames, the tables that they are interned in, and the validator of their code.
struct Recorded {
    explicit Recorded(FakeRuntime& of)
        : fake(of),
          objects(fake),
          interpreter(fake.add_interpreter(0)),
          stacks(fake.memory(), fake.layout, 1000),
          interpreters(fake.memory(), fake.runtime, stacks.format()),
          codes(fake.memory(), fake.layout),
          interner(codes),
          validator(fake.memory(), codes, interner) {
        fake.add_thread(interpreter, 1);
        for (const char* name : {"outer", "inner"}) {
            frames.push_back(objects.frame(objects.code(name, "/srv/app.py"), 2));
        }
        tick();  // Finds the thread.
    }

    /// With all that is in use.
    void tick() { tick(fake.memory()); }
    void tick(const memory::MemoryReader& memory) {
        memory::ReadBatch batch;
        interpreters.add_to(batch);
        std::vector<std::size_t> pieces;
        for (const cpython::ThreadState& thread : interpreters.threads()) {
            pieces.push_back(batch.add(stacks.format().thread_at(thread.address)));
        }
        validator.add_to(batch, fake.layout.interpreter_state.code_object_generation.has_value());
        interpreters.add_end_to(batch);
        batch.read(memory);
        if (interpreters.accept(batch, pieces)) validator.accept(batch, interpreters);
    }

    /// Interns, and does what is asked for, until it is done.
    std::vector<Outcome> intern(std::size_t unchanged = 0) {
        std::vector<Outcome> outcomes;
        do {
            outcomes.push_back(interner.intern(frames, unchanged, std::nullopt, stack));
            if (outcomes.back() == Outcome::kUnknownCode) codes.load(frames);
            if (outcomes.back() == Outcome::kUnproved)
                interner.prove_call(interner.unproved_call());
        } while (outcomes.back() != Outcome::kDone && outcomes.size() < 10);
        return outcomes;
    }

    /// The validator knows the stack's code, and has seen it in a tick.
    void intern_and_use() {
        intern();
        validator.begin_use();
        validator.use(stack);
        tick();
        tick();
    }

    /// Outermost first.
    std::vector<std::string> names() const {
        std::vector<std::string> found;
        for (const auto& entry : stack.entries) {
            const model::FrameRow& row = interner.frames()[entry.frame];
            found.push_back(interner.strings().rows()[row.function]);
        }
        return found;
    }

    std::string name_of(const char* function) const {
        const bool qualified = fake.layout.code_object.qualname.has_value();
        return (qualified ? "Class." : "") + std::string(function);
    }

    void replace_inner() {
        objects.fill(frames.back().code, "other", "/srv/other.py");
        // The interpreter says that a code object died, where it does.
        if (const auto generation = fake.layout.interpreter_state.code_object_generation)
            fake.memory().put(interpreter + *generation, ++deaths);
    }

    FakeRuntime& fake;
    FakeCodes objects;
    RemoteAddr interpreter;
    cpython::StackReader stacks;
    CachedInterpreters interpreters;
    cpython::CodeReader codes;
    FrameInterner interner;
    CodeValidator validator;
    std::vector<RawFrame> frames;  ///< Outermost first.
    InternedStack stack;
    std::uint64_t deaths = 0;
};

}  // namespace

TEST_CASE("code objects that stay are verified in the tick's batch") {
    for_each_version<FakeRuntime>([](FakeRuntime& fake) {
        Recorded recorded(fake);
        recorded.intern_and_use();
        CHECK(recorded.validator.holds(recorded.stack, true, 0, recorded.interpreters));
        const std::size_t calls = fake.memory().calls();
        CHECK(recorded.validator.holds(recorded.stack, true, 0, recorded.interpreters));
        CHECK(fake.memory().calls() == calls);
        CHECK(recorded.validator.holds(recorded.stack, false, 0, recorded.interpreters));
    });
}

TEST_CASE("a code object at the address of a dead one is noticed") {
    for (const bool in_batch : {true, false}) {
        CAPTURE(in_batch);
        for_each_version<FakeRuntime>([in_batch](FakeRuntime& fake) {
            Recorded recorded(fake);
            recorded.intern_and_use();
            REQUIRE(recorded.validator.holds(recorded.stack, true, 0, recorded.interpreters));
            const model::StackId before = recorded.stack.id();
            recorded.replace_inner();
            if (in_batch) recorded.tick();
            const bool held =
                recorded.validator.holds(recorded.stack, in_batch, 0, recorded.interpreters);
            // Where the batch found it, the stack must be interned anew; else it is found here.
            if (!in_batch || fake.layout.interpreter_state.code_object_generation)
                CHECK_FALSE(held);
            recorded.intern(2);
            CHECK(recorded.names() ==
                  std::vector{recorded.name_of("outer"), recorded.name_of("other")});
            CHECK(recorded.stack.id() != before);
        });
    }
}

TEST_CASE("a code object that dies while the tick is read is noticed") {
    for_each_version<FakeRuntime>([](FakeRuntime& fake) {
        if (!fake.layout.interpreter_state.code_object_generation) return;
        Recorded recorded(fake);
        recorded.intern_and_use();
        REQUIRE(recorded.validator.holds(recorded.stack, true, 0, recorded.interpreters));
        MovingMemory memory(fake.memory());
        memory.moves = [&](std::size_t piece, std::size_t pieces) {
            if (piece + 1 == pieces) recorded.replace_inner();
        };
        recorded.tick(memory);
        CHECK_FALSE(recorded.validator.holds(recorded.stack, true, 0, recorded.interpreters));
        recorded.intern(2);
        CHECK(recorded.names().back() == recorded.name_of("other"));
    });
}

TEST_CASE("a stack that was proved after the tick is verified as it is now") {
    for_each_version<FakeRuntime>([](FakeRuntime& fake) {
        Recorded recorded(fake);
        recorded.intern_and_use();
        recorded.replace_inner();
        // The tick says nothing of it, and an interpreter that is newer has said nothing yet.
        for (const std::size_t interpreter : {0, 1}) {
            CHECK_FALSE(recorded.validator.holds(recorded.stack, false, interpreter,
                                                 recorded.interpreters));
            recorded.intern(2);
            recorded.replace_inner();
        }
    });
}

TEST_CASE("code that many stacks have is read once, and very much of it not in the tick") {
    FakeRuntime fake(pystack::testing::layout_of(13));
    REQUIRE_FALSE(fake.layout.interpreter_state.code_object_generation);
    Recorded recorded(fake);
    recorded.intern();
    const auto pieces_in_use = [&] {
        memory::ReadBatch batch;
        recorded.validator.add_to(batch, false);
        return batch.size();
    };
    recorded.validator.begin_use();
    for (int i = 0; i < 3; ++i) recorded.validator.use(recorded.stack);
    CHECK(pieces_in_use() == 2);
    recorded.frames.clear();
    for (int i = 0; i < 600; ++i) {
        recorded.frames.push_back(
            recorded.objects.frame(recorded.objects.code("f" + std::to_string(i), "/srv/app.py")));
    }
    recorded.interner.set_stopped(true);
    recorded.intern();
    recorded.validator.begin_use();
    recorded.validator.use(recorded.stack);
    CHECK(pieces_in_use() == 512);
    // Those that the tick has not are verified when they are needed.
    recorded.tick();
    recorded.tick();
    CHECK(recorded.validator.holds(recorded.stack, true, 0, recorded.interpreters));
    recorded.objects.fill(recorded.frames.back().code, "other", "/srv/other.py");
    recorded.tick();
    CHECK_FALSE(recorded.validator.holds(recorded.stack, false, 0, recorded.interpreters));
}
