#include "capture/code_watch.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "capture/frame_interner.h"
#include "fake_codes.h"

using namespace pystack;
using namespace pystack::capture;
using cpython::RawFrame;
using pystack::testing::FakeCodes;
using pystack::testing::FakeInterpreter;
using pystack::testing::for_each_version;
using Outcome = FrameInterner::Outcome;

namespace {

/// One thread's frames, the tables that they are interned in, and the watch over their code.
struct Recorded {
    explicit Recorded(FakeInterpreter& of)
        : fake(of),
          objects(fake),
          interpreter(fake.add_interpreter(0)),
          stacks(fake.memory(), fake.layout, 1000),
          interpreters(fake.memory(), fake.runtime, stacks.format()),
          codes(fake.memory(), fake.layout),
          interner(codes),
          watch(fake.memory(), codes, interner) {
        fake.add_thread(interpreter, 1);
        for (const char* name : {"outer", "inner"}) {
            frames.push_back(objects.frame(objects.code(name, "/srv/app.py"), 2));
        }
        tick();  // Finds the thread.
    }

    /// With all that is in use.
    void tick() {
        memory::ReadBatch batch;
        interpreters.add_to(batch);
        std::vector<std::size_t> pieces;
        for (const cpython::ThreadState& thread : interpreters.threads()) {
            pieces.push_back(batch.add(stacks.format().thread_at(thread.address)));
        }
        watch.add_to(batch, fake.layout.interpreter_state.code_object_generation.has_value());
        interpreters.add_end_to(batch);
        batch.read(fake.memory());
        if (interpreters.take(batch, pieces)) watch.take(batch, interpreters);
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

    /// The watch knows the stack's code, and has seen it in a tick.
    void intern_and_use() {
        intern();
        watch.begin_use();
        watch.use(stack);
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

    FakeInterpreter& fake;
    FakeCodes objects;
    RemoteAddr interpreter;
    cpython::StackReader stacks;
    InterpreterWatch interpreters;
    cpython::CodeReader codes;
    FrameInterner interner;
    CodeWatch watch;
    std::vector<RawFrame> frames;  ///< Outermost first.
    InternedStack stack;
    std::uint64_t deaths = 0;
};

}  // namespace

TEST_CASE("a stack is interned when its code is known and its calls are proved") {
    for_each_version([](FakeInterpreter& fake) {
        Recorded recorded(fake);
        CHECK(recorded.intern() ==
              std::vector{Outcome::kUnknownCode, Outcome::kUnproved, Outcome::kDone});
        CHECK(recorded.names() ==
              std::vector{recorded.name_of("outer"), recorded.name_of("inner")});
        const model::StackId id = recorded.stack.id();
        CHECK(recorded.intern() == std::vector{Outcome::kDone});
        CHECK(recorded.intern(2) == std::vector{Outcome::kDone});
        CHECK(recorded.stack.id() == id);
        CHECK(recorded.interner.stacks().rows().size() == 3);

        // Another place in the caller: another call.
        recorded.frames[0] = recorded.objects.frame(recorded.frames[0].code, 8);
        CHECK(recorded.intern() == std::vector{Outcome::kUnproved, Outcome::kDone});
        CHECK(recorded.stack.id() != id);

        // Only the innermost frame moved on: the same function at another place.
        recorded.frames[1] = recorded.objects.frame(recorded.frames[1].code, 8);
        CHECK(recorded.intern(1) == std::vector{Outcome::kDone});
        CHECK(recorded.names().back() == recorded.name_of("inner"));
    });
}

TEST_CASE("an instruction outside of its code object is of a frame that was being replaced") {
    for_each_version([](FakeInterpreter& fake) {
        if (!fake.layout.code_object.co_code_adaptive) return;  // The size is not known.
        Recorded recorded(fake);
        recorded.intern();
        recorded.frames[1] =
            recorded.objects.frame(recorded.frames[1].code, 2 * FakeCodes::kUnits + 2);
        CHECK(recorded.interner.intern(recorded.frames, 0, std::nullopt, recorded.stack) ==
              Outcome::kUnfit);
    });
}

TEST_CASE("a task's frame is below the outermost coroutine") {
    for_each_version([](FakeInterpreter& fake) {
        constexpr std::int32_t kCoroutine = 0x80;  // CO_COROUTINE
        Recorded recorded(fake);
        fake.memory().put(recorded.frames[1].code + *fake.layout.code_object.flags, kCoroutine);
        recorded.intern();
        const model::FrameId task = recorded.interner.task_frame("fetch");
        const std::size_t rows = recorded.interner.stacks().rows().size();
        REQUIRE(recorded.interner.intern(recorded.frames, 2, task, recorded.stack) ==
                Outcome::kDone);
        const auto& stacks = recorded.interner.stacks().rows();
        REQUIRE(stacks.size() == rows + 2);
        CHECK(stacks[rows].frame == task);
        CHECK(stacks[rows].parent == recorded.stack.entries[0].stack);
        CHECK(stacks[rows + 1].parent == rows);
        CHECK(recorded.stack.id() == rows + 1);
    });
}

TEST_CASE("tasks have frames with their names, but not any number") {
    for_each_version([](FakeInterpreter& fake) {
        Recorded recorded(fake);
        const model::FrameId task = recorded.interner.task_frame("fetch");
        CHECK(recorded.interner.task_frame("fetch") == task);
        CHECK(recorded.interner.task_frame("other") != task);
        const model::FrameRow& row = recorded.interner.frames()[task];
        CHECK(row.kind == model::FrameKind::kMarker);
        CHECK(recorded.interner.strings().rows()[row.function] == "<task fetch>");
        for (int i = 0; i < 2000; ++i) recorded.interner.task_frame("task" + std::to_string(i));
        const auto last = recorded.interner.frames().back();
        CHECK(recorded.interner.strings().rows()[last.function] == "<other tasks>");
    });
}

TEST_CASE("code objects that stay are verified in the tick's batch") {
    for_each_version([](FakeInterpreter& fake) {
        Recorded recorded(fake);
        recorded.intern_and_use();
        CHECK(recorded.watch.holds(recorded.stack, true, 0, recorded.interpreters));
        const std::size_t calls = fake.memory().calls();
        CHECK(recorded.watch.holds(recorded.stack, true, 0, recorded.interpreters));
        CHECK(fake.memory().calls() == calls);
        CHECK(recorded.watch.holds(recorded.stack, false, 0, recorded.interpreters));
    });
}

TEST_CASE("a code object at the address of a dead one is noticed") {
    for (const bool in_batch : {true, false}) {
        CAPTURE(in_batch);
        for_each_version([in_batch](FakeInterpreter& fake) {
            Recorded recorded(fake);
            recorded.intern_and_use();
            REQUIRE(recorded.watch.holds(recorded.stack, true, 0, recorded.interpreters));
            const model::StackId before = recorded.stack.id();
            recorded.replace_inner();
            if (in_batch) recorded.tick();
            const bool held =
                recorded.watch.holds(recorded.stack, in_batch, 0, recorded.interpreters);
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
