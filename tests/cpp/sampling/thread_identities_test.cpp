#include "sampling/thread_identities.h"

#include <doctest/doctest.h>

#include <string>
#include <utility>
#include <vector>

#include "support/fake_program.h"

using namespace pystack;
using namespace pystack::sampling;
using pystack::testing::FakeProgram;
using pystack::testing::FakeRuntime;
using pystack::testing::FakeTarget;
using pystack::testing::for_each_version;

namespace {

constexpr std::uint64_t kMs = 1'000'000;
/// Where glibc has the tid in struct pthread.
constexpr std::uint64_t kTidInPthread = 720;

/// Threads of an interpreter, and who they are known to be.
struct Recording {
    explicit Recording(FakeRuntime& of, std::uint64_t bytes = WorkLimits::kDefaultBytes)
        : fake(of),
          program(of),
          target(of),
          stacks(of.memory(), of.layout, 100),
          interpreters(of.memory(), of.runtime, stacks.format()),
          identities(target, std::make_shared<WorkLimits>(bytes)) {}

    /// Returns its pthread_t. The system's thread is there, or not yet.
    std::uint64_t add_thread(bool started = true) {
        const std::uint64_t pthread = fake.allocate(1024).value;
        const std::int32_t tid = FakeProgram::tid_of(pthread);
        fake.memory().put(RemoteAddr{pthread} + kTidInPthread, tid);
        fake.add_thread(program.interpreter, pthread);
        if (started) start(pthread);
        return pthread;
    }

    void start(std::uint64_t pthread) {
        const std::int32_t tid = FakeProgram::tid_of(pthread);
        target.infos.push_back({.tid = tid, .name = "os-thread"});
    }

    bool update(std::uint64_t now_ns) {
        interpreters.read();
        return identities.update(now_ns, fake.runtime, interpreters, indices);
    }

    FakeRuntime& fake;
    FakeProgram program;
    FakeTarget target;
    cpython::StackReader stacks;
    cpython::CachedInterpreters interpreters;
    ThreadIdentities identities;
    std::vector<std::uint32_t> indices;  ///< As the interpreter's threads.
};

}  // namespace

TEST_CASE("a new thread is known at once by its number, then by its name") {
    for_each_version<FakeRuntime>([](FakeRuntime& fake) {
        Recording recording(fake);
        const std::uint64_t pthread = recording.add_thread();
        recording.indices = {recording.identities.add(100 * kMs)};
        const std::uint32_t index = recording.indices[0];
        CHECK(recording.identities.of(index).pid == FakeTarget::kPid);
        CHECK(recording.identities.of(index).tid == 0);
        CHECK_FALSE(recording.update(99 * kMs));
        CHECK(recording.update(100 * kMs));
        CHECK(recording.identities.of(index).tid == FakeProgram::tid_of(pthread));
        CHECK(recording.identities.of(index).interpreter_id == 0);
        // Before it has one of its own: the kernel's.
        CHECK(recording.identities.of(index).name == "os-thread");
        recording.program.name_threads(recording.program.interpreter, {{pthread, "worker"}});
        CHECK(recording.update(200 * kMs));
        CHECK(recording.identities.of(index).name == "worker");
        CHECK_FALSE(recording.update(10'000 * kMs));
    });
}

TEST_CASE("a thread is asked about less and less often") {
    for_each_version<FakeRuntime>([](FakeRuntime& fake) {
        Recording recording(fake);
        recording.add_thread();
        recording.indices = {recording.identities.add(0)};
        recording.interpreters.read();
        const auto asks = [&](std::uint64_t now_ns) {
            const std::size_t calls = fake.memory().calls();
            recording.identities.update(now_ns, fake.runtime, recording.interpreters,
                                        recording.indices);
            return fake.memory().calls() != calls;
        };
        // 5 ms, and four times as long each time.
        std::uint64_t now = 0;
        for (std::uint64_t pause = 5 * kMs; pause < 10'000 * kMs; pause *= 4) {
            CAPTURE(pause);
            CHECK(asks(now));
            CHECK_FALSE(asks(now + pause - 1));
            now += pause;
        }
        CHECK(asks(now));
        now += 10'000 * kMs;
        CHECK_FALSE(asks(now - 1));
        CHECK(asks(now));
        CHECK_FALSE(asks(now + 10'000 * kMs - 1));
        CHECK(asks(now + 10'000 * kMs));
    });
}

TEST_CASE("a thread that starts later is found by the next question") {
    for_each_version<FakeRuntime>([](FakeRuntime& fake) {
        Recording recording(fake);
        const std::uint64_t first = recording.add_thread();
        const std::uint64_t second = recording.add_thread(false);
        recording.indices = {recording.identities.add(0), recording.identities.add(0)};
        recording.update(0);
        recording.start(second);
        CHECK(recording.update(5 * kMs));
        CHECK(recording.identities.of(recording.indices[0]).tid == FakeProgram::tid_of(first));
        CHECK(recording.identities.of(recording.indices[1]).tid == FakeProgram::tid_of(second));
    });
}

TEST_CASE("what is new or changed is handed over once, by rising number") {
    FakeRuntime fake(pystack::testing::layout_of(13));
    Recording recording(fake);
    const std::uint64_t pthread = recording.add_thread();
    recording.indices = {recording.identities.add(0)};
    const std::uint32_t known = recording.identities.add_known({.pid = 1, .tid = 2, .name = "x"});
    recording.update(0);
    auto changed = recording.identities.consume_changed();
    REQUIRE(changed.size() == 2);
    CHECK(changed[0].first == recording.indices[0]);
    CHECK(changed[0].second.tid == FakeProgram::tid_of(pthread));
    CHECK(changed[1].first == known);
    CHECK(changed[1].second.name == "x");
    CHECK(recording.identities.consume_changed().empty());
    recording.update(5 * kMs);
    CHECK(recording.identities.consume_changed().empty());
    recording.program.name_threads(recording.program.interpreter, {{pthread, "worker"}});
    recording.update(1000 * kMs);
    changed = recording.identities.consume_changed();
    REQUIRE(changed.size() == 1);
    CHECK(changed[0].second.name == "worker");
}

TEST_CASE("past the memory limit all threads are one, which nobody is asked about") {
    FakeRuntime fake(pystack::testing::layout_of(13));
    Recording recording(fake, 3 * 1024);
    recording.add_thread();
    std::vector<std::uint32_t> indices;
    for (int i = 0; i < 6; ++i) indices.push_back(recording.identities.add(0));
    CHECK_FALSE(recording.identities.is_left_out(indices[2]));
    for (std::size_t i = 3; i < indices.size(); ++i) {
        CHECK(indices[i] == indices[3]);
        CHECK(recording.identities.is_left_out(indices[i]));
    }
    CHECK(recording.identities.is_left_out(recording.identities.add_known({.pid = 1})));
    CHECK(recording.identities.of(indices[3]).name == "<left out: memory limit>");
    CHECK(recording.identities.consume_changed().size() == 4);
    recording.indices = {indices[5]};
    CHECK_FALSE(recording.update(1'000'000 * kMs));
}

TEST_CASE("a thread that was found without asking is never asked about") {
    FakeRuntime fake(pystack::testing::layout_of(13));
    Recording recording(fake);
    recording.add_thread();
    const std::uint32_t known = recording.identities.add_known({.pid = 1, .tid = 2, .name = "x"});
    CHECK(recording.identities.of(known).tid == 2);
    CHECK_FALSE(recording.identities.is_left_out(known));
}

TEST_CASE("renumbered threads are told of again, and those that ended are forgotten") {
    for_each_version<FakeRuntime>([](FakeRuntime& fake) {
        Recording recording(fake);
        const std::uint64_t pthread = recording.add_thread();
        for (int ended = 0; ended < 3; ++ended) recording.identities.add(0);
        recording.indices = {recording.identities.add(0)};
        CHECK(recording.update(kMs));
        CHECK(recording.identities.consume_changed().size() == 4);
        recording.indices = recording.identities.renumber(recording.indices, 2 * kMs);
        REQUIRE(recording.indices == std::vector<std::uint32_t>{0});
        CHECK(recording.identities.of(0).tid == FakeProgram::tid_of(pthread));
        const auto told = recording.identities.consume_changed();
        REQUIRE(told.size() == 1);
        CHECK(told[0].first == 0);
        CHECK(told[0].second.tid == FakeProgram::tid_of(pthread));
        CHECK(recording.identities.add(3 * kMs) == 1);
    });
}
