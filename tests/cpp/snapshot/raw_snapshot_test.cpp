#include "snapshot/raw_snapshot.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "support/fake_program.h"

using namespace pystack;
using namespace pystack::snapshot;
using model::StackEnd;
using pystack::testing::FakeProgram;
using pystack::testing::FakeRuntime;
using pystack::testing::FakeTarget;
using pystack::testing::for_each_version;

namespace {

constexpr std::size_t kMaxDepth = 1000;

/// The functions that run, outermost first.
std::vector<std::string> functions_of(const RawSnapshot& raw, std::size_t thread) {
    std::vector<std::string> names;
    const auto& frames = raw.threads[thread].frames;
    for (auto frame = frames.rbegin(); frame != frames.rend(); ++frame) {
        if (frame->shim) continue;
        const cpython::Code* code = raw.codes.find(frame->code);
        names.emplace_back(code != nullptr ? code->function.view() : "?");
    }
    return names;
}

std::vector<std::string> deep(std::size_t depth) {
    return std::vector<std::string>(depth, "recurse");
}

using Names = std::vector<std::string>;

}  // namespace

TEST_CASE("a standing target is read thread by thread, the oldest first") {
    for_each_version<FakeRuntime>([](FakeRuntime& fake) {
        FakeProgram program(fake);
        program.add_thread(FakeProgram::kMain, {"main", "work"});
        program.add_thread(2, {"serve"});
        const RemoteAddr sub = fake.add_interpreter(1);
        program.add_thread(3, {"guest", "call"}, sub);
        program.name_threads(program.interpreter, {{2, "server"}});
        const RemoteAddr gil = fake.make_gil(program.interpreter);
        if (gil) fake.put_gil(gil, 1, RemoteAddr{0x77});

        const FakeTarget target(fake);
        RawSnapshot raw(target, fake.runtime, kMaxDepth);
        raw.read_stopped();
        // The list of interpreters is newest first.
        REQUIRE(raw.walked.interpreters.size() == 2);
        REQUIRE(raw.threads.size() == 3);
        CHECK(functions_of(raw, 0) == Names{"guest", "call"});
        CHECK(functions_of(raw, 1) == Names{"main", "work"});
        CHECK(functions_of(raw, 2) == Names{"serve"});
        for (const RawThread& thread : raw.threads) {
            CHECK(thread.outcome.end == StackEnd::kComplete);
            CHECK_FALSE(thread.info);
        }
        REQUIRE(raw.names.size() == 2);
        CHECK(raw.names[0].empty());
        CHECK(raw.names[1].at(2) == "server");
        REQUIRE(raw.gils.size() == 2);
        if (gil) {
            REQUIRE(raw.gils[1]);
            CHECK(raw.gils[1]->holder == RemoteAddr{0x77});
        }
    });
}

TEST_CASE("a stack that cannot be read leaves the others whole") {
    for_each_version<FakeRuntime>([](FakeRuntime& fake) {
        FakeProgram program(fake);
        const RemoteAddr broken = program.add_thread(1, {"main", "work"});
        program.add_thread(2, {"serve"});
        fake.set_top(broken, RemoteAddr{0x10});
        const FakeTarget target(fake);
        RawSnapshot raw(target, fake.runtime, kMaxDepth);
        raw.read_stopped();
        REQUIRE(raw.threads.size() == 2);
        CHECK(raw.threads[0].outcome.end == StackEnd::kUnreadable);
        CHECK(raw.threads[0].frames.empty());
        CHECK(functions_of(raw, 1) == Names{"serve"});
    });
}

TEST_CASE("threads with the same frames are not believed") {
    for_each_version<FakeRuntime>([](FakeRuntime& fake) {
        FakeProgram program(fake);
        const RemoteAddr first = program.add_thread(1, {"main", "work"});
        const RemoteAddr second = program.add_thread(2, {"serve"});
        fake.set_top(second, *fake.memory().read_pointer(fake.top(first)));
        const FakeTarget target(fake);
        RawSnapshot raw(target, fake.runtime, kMaxDepth);
        for (int reading = 0; reading < 2; ++reading) {
            raw.read_stopped();
            CHECK(functions_of(raw, 0) == Names{"main", "work"});
            CHECK(raw.threads[1].frames.empty());
            CHECK(raw.threads[1].outcome.end == StackEnd::kUnreadable);
            REQUIRE(raw.threads[1].outcome.problem);
            CHECK(raw.threads[1].outcome.problem->code == ErrorCode::kUnsupportedTarget);
            raw.clear();  // The next reading is not compared with this one.
        }
    });
}

TEST_CASE("frames take from the memory limit, and what does not fit is left out") {
    for_each_version<FakeRuntime>([](FakeRuntime& fake) {
        constexpr std::uint64_t kBytes = 1 << 20;
        FakeProgram program(fake);
        program.add_thread(1, deep(800));
        program.add_thread(2, deep(800));
        program.add_thread(3, {"serve"});
        const auto limits = std::make_shared<WorkLimits>(kBytes);
        const FakeTarget target(fake, limits);
        RawSnapshot raw(target, fake.runtime, kMaxDepth);
        const std::size_t most = raw.most_frames();
        CHECK(most * 768 <= kBytes);
        REQUIRE(most > 800);
        REQUIRE(most < 1600);
        raw.read_stopped();
        CHECK(raw.threads[0].outcome.end == StackEnd::kComplete);
        CHECK(raw.threads[1].outcome.end == StackEnd::kDepthLimit);
        CHECK(raw.threads[0].frames.size() + raw.threads[1].frames.size() == most);
        // The innermost ones are kept.
        CHECK(raw.threads[1].frames.front().address ==
              *fake.memory().read_pointer(fake.top(raw.threads[1].state.address)));
        CHECK(raw.threads[2].outcome.end == StackEnd::kUnreadable);
        REQUIRE(raw.threads[2].outcome.problem);
        CHECK(raw.threads[2].outcome.problem->code == ErrorCode::kOutOfMemory);
        CHECK(limits->bytes_refused());
        // Names have what is kept for them.
        CHECK(functions_of(raw, 0) == deep(800));
    });
}

TEST_CASE("a depth limit is not a memory limit") {
    for_each_version<FakeRuntime>([](FakeRuntime& fake) {
        FakeProgram program(fake);
        program.add_thread(1, deep(50));
        const FakeTarget target(fake);
        RawSnapshot raw(target, fake.runtime, 10);
        raw.read_stopped();
        CHECK(raw.threads[0].outcome.end == StackEnd::kDepthLimit);
        CHECK(raw.threads[0].frames.size() == 10);
        CHECK_FALSE(target.limits().bytes_refused());
    });
}

TEST_CASE("another reading has what the first one took") {
    for_each_version<FakeRuntime>([](FakeRuntime& fake) {
        FakeProgram program(fake);
        const RemoteAddr thread = program.add_thread(1, deep(100));
        const FakeTarget target(fake);
        RawSnapshot raw(target, fake.runtime, kMaxDepth);
        raw.read_stopped();
        raw.thread_pointers[7] = {1};
        raw.calls[7] = {};
        const std::uint64_t left = target.limits().bytes_left();
        raw.clear();
        CHECK(target.limits().bytes_left() == left + (100 + fake.has_shims()) * 768);
        CHECK(raw.threads.empty());
        CHECK(raw.walked.threads.empty());
        CHECK(raw.gils.empty());
        CHECK(raw.names.empty());
        CHECK(raw.calls.empty());
        CHECK(raw.thread_pointers.empty());
        CHECK(raw.codes.find(program.code("recurse")) != nullptr);

        program.run(thread, {"other"});
        raw.read_stopped();
        CHECK(functions_of(raw, 0) == Names{"other"});
        raw.clear();
        CHECK(raw.codes.find(program.code("recurse")) != nullptr);
    });
}

TEST_CASE("code that was read before the target stood still is read again when it has changed") {
    for_each_version<FakeRuntime>([](FakeRuntime& fake) {
        FakeProgram program(fake);
        program.add_thread(1, {"main"});
        const FakeTarget target(fake);
        RawSnapshot raw(target, fake.runtime, kMaxDepth);
        raw.read_stopped();
        CHECK(functions_of(raw, 0) == Names{"main"});
        raw.clear();
        program.codes.fill(program.code("main"), "renamed", FakeProgram::kFile);
        raw.read_stopped();
        CHECK(functions_of(raw, 0) == Names{"renamed"});
    });
}

TEST_CASE("threads are matched with those of the system, and have their calls") {
    for_each_version<FakeRuntime>([](FakeRuntime& fake) {
        FakeProgram program(fake);
        program.add_thread(1, {"main"});
        program.add_thread(2, {"serve"});
        program.add_thread(3, {"gone"});
        const FakeTarget target(fake);
        RawSnapshot raw(target, fake.runtime, kMaxDepth);
        raw.read_stopped();
        for (const std::uint64_t pthread : {2, 9, 1}) {
            raw.infos.push_back({.tid = FakeProgram::tid_of(pthread)});
            raw.thread_pointers[FakeProgram::tid_of(pthread)] = {pthread};
        }
        raw.calls[FakeProgram::tid_of(2)] = {.number = 7, .argument0 = 8};
        raw.match();
        CHECK(raw.threads[0].info == 2);
        CHECK(raw.threads[1].info == 0);
        CHECK_FALSE(raw.threads[2].info);
        CHECK_FALSE(raw.threads[0].call);
        REQUIRE(raw.threads[1].call);
        CHECK(raw.threads[1].call->number == 7);
    });
}

TEST_CASE("of a cancelled reading nothing can be read") {
    for_each_version<FakeRuntime>([](FakeRuntime& fake) {
        FakeProgram program(fake);
        program.add_thread(1, {"main"});
        const FakeTarget target(fake);
        target.limits().cancel();
        RawSnapshot raw(target, fake.runtime, kMaxDepth);
        raw.read_stopped();
        CHECK(raw.threads.empty());
        CHECK(raw.walked.problem);
    });
}
