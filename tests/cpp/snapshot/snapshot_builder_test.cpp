#include "snapshot/snapshot_builder.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "support/fake_program.h"
#include "support/snapshot_parts.h"

using namespace pystack;
using namespace pystack::snapshot;
using model::GilState;
using model::StackEnd;
using pystack::testing::FakeProgram;
using pystack::testing::FakeRuntime;
using pystack::testing::FakeTarget;
using pystack::testing::for_each_version;
using pystack::testing::functions_of;
using pystack::testing::mentions;

namespace {

constexpr std::uint64_t kMain = FakeProgram::kMain;

/// A program, and a reading of it that tests change before a snapshot is built of it.
struct Reading {
    explicit Reading(FakeRuntime& of,
                     std::shared_ptr<WorkLimits> limits = std::make_shared<WorkLimits>())
        : fake(of), program(of), limits_(std::move(limits)) {}

    /// With a system thread for each of these, whose names are "os-N".
    RawSnapshot& read(const std::vector<std::uint64_t>& pthreads = {}) {
        target.emplace(fake, limits_);
        raw.emplace(*target, fake.runtime, 1000);
        raw->read_stopped();
        for (const std::uint64_t pthread : pthreads) {
            const std::int32_t tid = FakeProgram::tid_of(pthread);
            raw->infos.push_back(
                {.tid = tid, .name = "os-" + std::to_string(pthread), .run_state = 'S'});
            raw->thread_pointers[tid] = {pthread};
        }
        raw->match();
        return *raw;
    }

    model::Snapshot build() { return build_snapshot(*raw); }

    FakeRuntime& fake;
    FakeProgram program;
    std::optional<FakeTarget> target;
    std::optional<RawSnapshot> raw;

  private:
    std::shared_ptr<WorkLimits> limits_;
};

using Names = std::vector<std::string>;

}  // namespace

TEST_CASE("frames are outermost first and say where they are") {
    for_each_version<FakeRuntime>([](FakeRuntime& fake) {
        Reading reading(fake);
        reading.program.add_thread(1, {"main", "work", "work"});
        reading.read();
        const model::Snapshot snapshot = reading.build();
        REQUIRE(snapshot.threads.size() == 1);
        const model::Thread& thread = snapshot.threads[0];
        CHECK(thread.stack_end == StackEnd::kComplete);
        CHECK(thread.stack_problem.empty());
        REQUIRE(functions_of(thread) == Names{"main", "work", "work"});
        for (const model::Frame& frame : thread.frames) {
            CHECK(frame.kind == model::FrameKind::kPython);
            CHECK(frame.file == FakeProgram::kFile);
            CHECK(frame.first_line == pystack::testing::FakeCodes::kFirstLine);
            CHECK(frame.qualname.has_value() == fake.layout.code_object.qualname.has_value());
            CHECK_FALSE(frame.interpreter_id);
        }
        if (thread.frames[0].qualname) CHECK(*thread.frames[0].qualname == "Class.main");
    });
}

TEST_CASE("interpreters by id, in each the main thread first and then the oldest") {
    for_each_version<FakeRuntime>([](FakeRuntime& fake) {
        Reading reading(fake);
        reading.program.add_thread(7, {"older"});
        reading.program.add_thread(kMain, {"main"});
        reading.program.add_thread(5, {"younger"});
        const RemoteAddr sub = fake.add_interpreter(1);
        reading.program.add_thread(8, {"guest"}, sub);
        reading.read({5, 7, 8, kMain});
        const model::Snapshot snapshot = reading.build();
        Names order;
        for (const model::Thread& thread : snapshot.threads)
            order.push_back(functions_of(thread)[0]);
        CHECK(order == Names{"main", "older", "younger", "guest"});
        REQUIRE(snapshot.interpreters.size() == 2);
        CHECK(snapshot.interpreters[0].id == 0);
        CHECK(snapshot.interpreters[1].id == 1);
        CHECK(snapshot.threads[0].is_main == true);
        CHECK(snapshot.threads[1].is_main == false);
        CHECK(snapshot.threads[3].interpreter_id == 1);
    });
}

TEST_CASE("a thread has its names and ids only when its system thread is known") {
    for_each_version<FakeRuntime>([](FakeRuntime& fake) {
        Reading reading(fake);
        reading.program.add_thread(kMain, {"main"});
        reading.program.add_thread(2, {"starting"});
        reading.program.name_threads(reading.program.interpreter,
                                     {{kMain, "MainThread"}, {2, "creator"}});
        reading.read({kMain});
        const model::Snapshot snapshot = reading.build();
        REQUIRE(snapshot.threads.size() == 2);
        const model::Thread& main = snapshot.threads[0];
        CHECK(main.tid == FakeTarget::kPid);
        CHECK(main.name == "MainThread");
        CHECK(main.kernel_name == "os-" + std::to_string(kMain));
        CHECK(main.run_state == 'S');
        CHECK(main.python_thread_id == kMain);
        const model::Thread& starting = snapshot.threads[1];
        CHECK_FALSE(starting.tid);
        // Its id may still be its creator's, and so would be the name.
        CHECK_FALSE(starting.name);
        CHECK_FALSE(starting.is_main);
        CHECK(starting.python_thread_id == 2);
    });
}

TEST_CASE("the main thread has its name without `threading`") {
    for_each_version<FakeRuntime>([](FakeRuntime& fake) {
        Reading reading(fake);
        reading.program.add_thread(kMain, {"main"});
        reading.program.add_thread(2, {"other"});
        reading.read({kMain, 2});
        const model::Snapshot snapshot = reading.build();
        REQUIRE(snapshot.threads.size() == 2);
        CHECK(snapshot.threads[0].name == "MainThread");
        CHECK_FALSE(snapshot.threads[1].name);
    });
}

TEST_CASE("a torn stack shows no frames, and says how often it was tried") {
    for_each_version<FakeRuntime>([](FakeRuntime& fake) {
        Reading reading(fake);
        reading.program.add_thread(1, {"main", "work"});
        reading.program.add_thread(2, {"main", "work"});
        RawSnapshot& raw = reading.read();
        raw.threads[0].outcome = {.end = StackEnd::kTorn, .problem = {}, .attempts = 37};
        raw.threads[1].outcome = {.end = StackEnd::kTorn, .problem = {}, .attempts = 0};
        const model::Snapshot snapshot = reading.build();
        for (const model::Thread& thread : snapshot.threads) {
            CHECK(thread.stack_end == StackEnd::kTorn);
            CHECK(thread.frames.empty());
        }
        CHECK(snapshot.threads[0].stack_problem.contains("37 reads"));
        CHECK(snapshot.threads[1].stack_problem.contains("time limit"));
    });
}

TEST_CASE("a cut stack keeps its innermost frames and says why it ends") {
    for_each_version<FakeRuntime>([](FakeRuntime& fake) {
        Reading reading(fake);
        reading.program.add_thread(1, {"main", "work"});
        reading.program.add_thread(2, {"main", "work"});
        RawSnapshot& raw = reading.read();
        raw.threads[0].outcome = cpython::StackOutcome::unreadable(read_fault({0x1234}, 8));
        raw.threads[0].frames.resize(1);
        raw.threads[1].outcome = {.end = StackEnd::kDepthLimit};
        raw.threads[1].frames.resize(1);
        const model::Snapshot snapshot = reading.build();
        CHECK(functions_of(snapshot.threads[0]) == Names{"work"});
        CHECK(snapshot.threads[0].stack_end == StackEnd::kUnreadable);
        CHECK(snapshot.threads[0].stack_problem == read_fault({0x1234}, 8).message());
        CHECK(functions_of(snapshot.threads[1]) == Names{"work"});
        CHECK(snapshot.threads[1].stack_end == StackEnd::kDepthLimit);
        CHECK(snapshot.threads[1].stack_problem == "only the innermost 1 frames were read");
    });
}

TEST_CASE("a thread outside of Python") {
    for_each_version<FakeRuntime>([](FakeRuntime& fake) {
        Reading reading(fake);
        reading.program.add_thread(1, {});
        reading.program.add_thread(2, {"main"});
        RawSnapshot& raw = reading.read();
        // All that it has is a shim.
        if (fake.has_shims()) raw.threads[1].frames.erase(raw.threads[1].frames.begin());
        const model::Snapshot snapshot = reading.build();
        CHECK(snapshot.threads[0].stack_end == StackEnd::kNoPython);
        CHECK(snapshot.threads[0].frames.empty());
        CHECK(snapshot.threads[0].stack_problem.empty());
        if (fake.has_shims()) {
            CHECK(snapshot.threads[1].stack_end == StackEnd::kNoPython);
            CHECK(snapshot.threads[1].frames.empty());
        }
    });
}

TEST_CASE("a frame whose code cannot be read is left out, and the stack says so") {
    for_each_version<FakeRuntime>([](FakeRuntime& fake) {
        Reading reading(fake);
        reading.program.add_thread(1, {"main", "broken", "work"});
        fake.memory().put(reading.program.code("broken") + *fake.layout.code_object.filename,
                          RemoteAddr{0x10});
        reading.read();
        const model::Snapshot snapshot = reading.build();
        const model::Thread& thread = snapshot.threads[0];
        CHECK(functions_of(thread) == Names{"main", "work"});
        CHECK(thread.stack_end == StackEnd::kUnreadable);
        CHECK(thread.stack_problem.starts_with("a frame was left out: "));
        CHECK(snapshot.problems.empty());
    });
}

TEST_CASE("a frame whose code was never read is left out") {
    for_each_version<FakeRuntime>([](FakeRuntime& fake) {
        Reading reading(fake);
        reading.program.add_thread(1, {"main", "work"});
        RawSnapshot& raw = reading.read();
        raw.threads[0].frames[0].code = {0x123450};
        const model::Thread thread = reading.build().threads[0];
        CHECK(functions_of(thread) == Names{"main"});
        CHECK(thread.stack_problem == "a frame was left out: code object unknown");
    });
}

TEST_CASE("names that the memory limit left out are in their place, and said once") {
    for_each_version<FakeRuntime>([](FakeRuntime& fake) {
        constexpr std::uint64_t kBytes = 8 << 10;
        Reading reading(fake, std::make_shared<WorkLimits>(kBytes));
        reading.program.add_thread(1, {"main", "work"});
        auto limits = std::make_shared<WorkLimits>(kBytes);
        reading.target.emplace(fake, limits);
        reading.raw.emplace(*reading.target, fake.runtime, 1000);
        // Nothing is left when the code objects are read.
        limits->charge_bytes(limits->bytes_left());
        RawThread& thread = reading.raw->threads.emplace_back();
        reading.raw->walked = cpython::walk_interpreters(reading.target->memory(), fake.runtime);
        thread.state = reading.raw->walked.threads[0];
        reading.raw->stacks.read_stopped(thread.state.address, thread.frames);
        reading.raw->codes.load(thread.frames);
        reading.raw->read_gils();
        reading.raw->read_names();
        const model::Snapshot snapshot = reading.build();
        CHECK(functions_of(snapshot.threads[0]) ==
              Names{"<left out: memory limit>", "<left out: memory limit>"});
        CHECK(mentions(snapshot.problems, "memory limit of 0 MiB was reached"));
    });
}

TEST_CASE("limits that were reached are problems of the whole") {
    FakeRuntime fake(pystack::testing::layout_of(13));
    const auto limits = std::make_shared<WorkLimits>(64 << 20);
    Reading reading(fake, limits);
    reading.program.add_thread(1, {"main"});
    reading.read();
    CHECK(reading.build().problems.empty());
    limits->refuse_bytes();
    CHECK(mentions(reading.build().problems, "memory limit of 64 MiB"));
    while (limits->charge_steps(1 << 20)) continue;
    CHECK(mentions(reading.build().problems, "work limit"));
    CHECK(reading.build().problems.size() == 2);
}

TEST_CASE("what the target and the list of threads leave out is among the problems") {
    for_each_version<FakeRuntime>([](FakeRuntime& fake) {
        Reading reading(fake);
        const RemoteAddr thread = reading.program.add_thread(1, {"main"});
        fake.memory().put(thread + *fake.layout.thread_state.next, thread);  // A ring.
        reading.read();
        reading.target->left_out = {"some mappings were left out"};
        const model::Snapshot snapshot = reading.build();
        CHECK(functions_of(snapshot.threads.at(0)) == Names{"main"});
        CHECK(snapshot.threads.size() == 1);
        REQUIRE(snapshot.problems.size() == 2);
        CHECK(snapshot.problems[0].starts_with("the list of threads is incomplete: "));
        CHECK(snapshot.problems[1] == "some mappings were left out");
    });
}

TEST_CASE("who holds the GIL, waits for it, and got it meanwhile") {
    for_each_version<FakeRuntime>([](FakeRuntime& fake) {
        Reading reading(fake);
        const RemoteAddr holder = reading.program.add_thread(1, {"holder"});
        for (const std::uint64_t pthread : {2, 3, 4})
            reading.program.add_thread(pthread, {"other"});
        const RemoteAddr gil = fake.make_gil(reading.program.interpreter);
        if (gil) fake.put_gil(gil, 1, holder);
        RawSnapshot& raw = reading.read();
        if (gil) {
            raw.threads[1].call = {arch::kFutexSyscall, (gil + *fake.layout.gil.cond).value};
            raw.threads[2].waited_for_gil = true;
        }
        const model::Snapshot snapshot = reading.build();
        const std::vector<GilState> expected =
            gil ? std::vector{GilState::kHolds, GilState::kWaits, GilState::kWaits, GilState::kNone}
                : std::vector(4, GilState::kUnknown);
        for (std::size_t i = 0; i < 4; ++i) CHECK(snapshot.threads[i].gil == expected[i]);
    });
}

TEST_CASE("the collector runs in an interpreter, and in a thread only if there is one") {
    for_each_version<FakeRuntime>([](FakeRuntime& fake) {
        if (!fake.layout.gc.collecting) return;
        Reading reading(fake);
        reading.program.add_thread(1, {"main"});
        RawSnapshot& raw = reading.read();
        auto& collecting = raw.walked.interpreters[0].gc_collecting;
        collecting = false;
        CHECK(reading.build().threads[0].gc_collecting == false);
        collecting = true;
        CHECK(reading.build().threads[0].gc_collecting == true);
        CHECK(reading.build().interpreters[0].gc_collecting == true);
        RawThread& other = raw.threads.emplace_back();
        other.state = raw.threads[0].state;
        CHECK_FALSE(reading.build().threads[0].gc_collecting);
        collecting.reset();
        CHECK_FALSE(reading.build().threads[0].gc_collecting);
    });
}

TEST_CASE("exceptions and variables go with their thread and frame") {
    FakeRuntime fake(pystack::testing::layout_of(12));
    Reading reading(fake);
    reading.program.add_thread(1, {"main", "work"});
    RawSnapshot& raw = reading.read();
    raw.threads[0].exceptions = {.raising = "ValueError", .handling = "KeyError"};
    raw.threads[0].variables.resize(raw.threads[0].frames.size());
    raw.threads[0].variables[0].variables.push_back({.name = "x", .value = "1"});
    const model::Thread thread = reading.build().threads[0];
    CHECK(thread.raising == "ValueError");
    CHECK(thread.handling == "KeyError");
    REQUIRE(thread.frames.size() == 2);
    REQUIRE(thread.frames[1].variables);
    REQUIRE(thread.frames[1].variables->variables.size() == 1);
    CHECK(thread.frames[1].variables->variables[0].name == "x");
    CHECK(thread.frames[0].variables->variables.empty());
}

TEST_CASE("a cancelled reading builds no threads") {
    FakeRuntime fake(pystack::testing::layout_of(12));
    Reading reading(fake);
    reading.program.add_thread(1, {"main"});
    reading.read();
    reading.target->limits().cancel();
    CHECK(reading.build().threads.empty());
}

TEST_CASE("a snapshot says which process and which Python it is of") {
    for_each_version<FakeRuntime>([](FakeRuntime& fake) {
        Reading reading(fake);
        reading.program.add_thread(1, {"main"});
        fake.runtime.debug = true;
        reading.read();
        const model::Snapshot snapshot = reading.build();
        CHECK(snapshot.pid == FakeTarget::kPid);
        CHECK(snapshot.executable == "/usr/bin/app");
        CHECK(snapshot.command == Names{"app", "--port", "80"});
        CHECK(snapshot.version == fake.runtime.version.to_string());
        CHECK(snapshot.free_threaded == fake.layout.free_threaded);
        CHECK(snapshot.debug);
        CHECK(snapshot.time_ns > 1'600'000'000'000'000'000);
        CHECK_FALSE(snapshot.core);
    });
}

TEST_CASE("a runtime without an interpreter is told from a process without Python") {
    FakeRuntime fake(pystack::testing::layout_of(12));
    const Error error = no_interpreter(FakeTarget(fake));
    CHECK(error.code == ErrorCode::kNotPython);
    CHECK(error.message().contains(std::to_string(FakeTarget::kPid)));
    CHECK(error.message().contains("starting up or has shut down"));
}
