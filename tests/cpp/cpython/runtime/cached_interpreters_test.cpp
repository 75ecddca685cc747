#include "cpython/runtime/cached_interpreters.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <vector>

#include "cpython/frames/stack_reader.h"
#include "support/fake_runtime.h"

using namespace pystack;
using namespace pystack::cpython;
using pystack::testing::FakeRuntime;
using pystack::testing::for_each_version;

namespace {

/// CachedInterpreters, and the ticks of an engine around it.
struct Watching {
    explicit Watching(FakeRuntime& of)
        : fake(of),
          stacks(fake.memory(), fake.layout, 1000),
          cached(fake.memory(), fake.runtime, stacks.format()) {}

    /// `resting`: those whose states are not read.
    bool tick(const std::vector<RemoteAddr>& resting = {}) {
        batch.clear();
        cached.add_to(batch);
        std::vector<std::size_t> pieces;
        for (const cpython::ThreadState& thread : cached.threads()) {
            const bool rests = std::count(resting.begin(), resting.end(), thread.address) != 0;
            pieces.push_back(rests ? CachedInterpreters::kNotRead
                                   : batch.add(stacks.format().thread_at(thread.address)));
        }
        cached.add_end_to(batch);
        batch.read(fake.memory());
        return cached.accept(batch, pieces);
    }

    std::vector<RemoteAddr> threads() const {
        std::vector<RemoteAddr> addresses;
        for (const auto& thread : cached.threads()) addresses.push_back(thread.address);
        return addresses;
    }

    FakeRuntime& fake;
    cpython::StackReader stacks;
    CachedInterpreters cached;
    memory::ReadBatch batch;
};

/// Two threads that are watched already.
struct TwoThreads {
    explicit TwoThreads(FakeRuntime& fake)
        : interpreter(fake.add_interpreter(0)),
          first(fake.add_thread(interpreter, 1)),
          second(fake.add_thread(interpreter, 2)),
          watching(fake) {
        watching.tick();
        REQUIRE(watching.tick());
    }

    RemoteAddr interpreter;
    RemoteAddr first;
    RemoteAddr second;
    Watching watching;
};

using Addresses = std::vector<RemoteAddr>;

}  // namespace

TEST_CASE("lists are found by the first tick, and cost one call as long as they stay") {
    for_each_version<FakeRuntime>([](FakeRuntime& fake) {
        const RemoteAddr interpreter = fake.add_interpreter(0);
        const RemoteAddr first = fake.add_thread(interpreter, 1);
        const RemoteAddr second = fake.add_thread(interpreter, 2);
        if (fake.layout.gil_place == cpython::GilPlace::kInterpreter) {
            fake.memory().put(interpreter + *fake.layout.interpreter_state.ceval_gil,
                              fake.allocate(fake.layout.gil.struct_size + 64));
        }
        Watching watching(fake);
        CHECK_FALSE(watching.tick());
        CHECK(watching.threads() == Addresses{first, second});
        CHECK(watching.tick());
        const std::uint64_t changes = watching.cached.changes();
        const std::size_t calls = fake.memory().calls();
        CHECK(watching.tick());
        CHECK(watching.cached.changes() == changes);
        CHECK(fake.memory().calls() == calls + 1);
        CHECK(watching.cached.is_linked(0));
        CHECK(watching.cached.is_linked(1));
    });
}

TEST_CASE("threads that come and go are followed") {
    for_each_version<FakeRuntime>([](FakeRuntime& fake) {
        auto [interpreter, first, second, watching] = TwoThreads(fake);
        const std::uint64_t changes = watching.cached.changes();

        const RemoteAddr third = fake.add_thread(interpreter, 3);
        CHECK_FALSE(watching.tick());
        CHECK(watching.threads() == Addresses{first, second, third});
        CHECK(watching.cached.changes() > changes);
        CHECK(watching.tick());

        // The middle one ends.
        fake.memory().put(third + *fake.layout.thread_state.next, first);
        CHECK_FALSE(watching.cached.is_linked(1));
        CHECK_FALSE(watching.tick());
        CHECK(watching.threads() == Addresses{first, third});
        CHECK(watching.tick());
    });
}

TEST_CASE("threads come and go beside others that are not read") {
    for_each_version<FakeRuntime>([](FakeRuntime& fake) {
        auto [interpreter, first, second, watching] = TwoThreads(fake);
        CHECK(watching.tick({first}));
        CHECK(watching.tick({first, second}));
        CHECK(watching.threads() == Addresses{first, second});

        const RemoteAddr third = fake.add_thread(interpreter, 3);
        CHECK_FALSE(watching.tick({first, second}));
        CHECK(watching.threads() == Addresses{first, second, third});

        // The middle one ends, which the link to it shows.
        fake.memory().put(third + *fake.layout.thread_state.next, first);
        CHECK_FALSE(watching.tick({first}));
        CHECK(watching.threads() == Addresses{first, third});
        CHECK(watching.tick({first, third}));
    });
}

TEST_CASE("another thread at the same address is another thread") {
    for_each_version<FakeRuntime>([](FakeRuntime& fake) {
        if (!fake.layout.thread_state.id) return;
        const RemoteAddr thread = fake.add_thread(fake.add_interpreter(0), 1);
        Watching watching(fake);
        watching.tick();
        REQUIRE(watching.tick());
        const std::uint64_t id = watching.cached.threads()[0].unique_id;
        fake.memory().put(thread + *fake.layout.thread_state.id, id + 7);
        CHECK_FALSE(watching.tick());
        CHECK(watching.cached.threads()[0].unique_id == id + 7);
    });
}

TEST_CASE("interpreters that come and go are followed") {
    for_each_version<FakeRuntime>([](FakeRuntime& fake) {
        const RemoteAddr old = fake.add_thread(fake.add_interpreter(0), 1);
        Watching watching(fake);
        watching.tick();
        REQUIRE(watching.tick());
        const RemoteAddr first = fake.first_interpreter();
        const RemoteAddr added = fake.add_thread(fake.add_interpreter(1), 2);
        CHECK_FALSE(watching.tick());
        CHECK(watching.cached.interpreters().size() == 2);
        CHECK(watching.threads() == Addresses{added, old});
        CHECK(watching.tick());
        fake.memory().put(fake.runtime.interpreters_head, first);
        CHECK_FALSE(watching.tick());
        CHECK(watching.threads() == Addresses{old});
        // The whole program is replaced by another: nothing is left.
        fake.memory().put(fake.runtime.interpreters_head, RemoteAddr{});
        CHECK_FALSE(watching.tick());
        CHECK(watching.cached.interpreters().empty());
        CHECK(watching.cached.threads().empty());
    });
}

TEST_CASE("a list that runs in a circle ends") {
    for_each_version<FakeRuntime>([](FakeRuntime& fake) {
        auto [interpreter, first, second, watching] = TwoThreads(fake);
        fake.memory().put(first + *fake.layout.thread_state.next, second);
        for (int i = 0; i < 3; ++i) CHECK_FALSE(watching.tick());
    });
}

TEST_CASE("code objects are counted at both ends of a tick") {
    for_each_version<FakeRuntime>([](FakeRuntime& fake) {
        const auto generation = fake.layout.interpreter_state.code_object_generation;
        const RemoteAddr interpreter = fake.add_interpreter(0);
        fake.add_thread(interpreter, 1);
        if (generation) fake.memory().put(interpreter + *generation, std::uint64_t{41});
        Watching watching(fake);
        watching.tick();
        REQUIRE(watching.tick());
        CHECK(watching.cached.generations_held() ==
              (generation.has_value() || !watching.cached.now(0).code_generation));
        if (!generation) return;
        CHECK(watching.cached.now(0).code_generation == 41);
        fake.memory().put(interpreter + *generation, std::uint64_t{42});
        CHECK(watching.cached.read_generation(0) == 42);
        REQUIRE(watching.tick());
        CHECK(watching.cached.now(0).code_generation == 42);
    });
}
