#include "snapshot/running_capture.h"

#include <doctest/doctest.h>
#include <signal.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <string>
#include <thread>

#include "process/proc_files.h"
#include "support/eventually.h"
#include "support/python_child.h"

using namespace pystack;
using namespace pystack::snapshot;
using model::StackEnd;
using pystack::testing::eventually;
using pystack::testing::PythonChild;

namespace {

/// A reading of a child that runs meanwhile.
struct Reading {
    explicit Reading(const PythonChild& child,
                     std::shared_ptr<WorkLimits> limits = std::make_shared<WorkLimits>(),
                     std::size_t max_depth = 10'000) {
        auto opened = target::LiveTarget::open(child.pid, std::move(limits));
        REQUIRE(opened);
        target = *std::move(opened);
        auto located = cpython::locate_runtime(*target);
        REQUIRE(located);
        runtime = *std::move(located);
        raw.emplace(*target, runtime, max_depth);
        running.emplace(*target, *raw);
    }

    std::unique_ptr<target::LiveTarget> target;
    cpython::Runtime runtime;
    std::optional<RawSnapshot> raw;
    std::optional<RunningCapture> running;
};

constexpr const char* kTwoThreads = R"(
def wait():
    arrive(2)
    time.sleep(1000)
def serve(): wait()
threading.Thread(target=serve, name='server').start()
wait()
)";

}  // namespace

TEST_CASE("stacks of sleeping threads are proved, with all that belongs to them") {
    const PythonChild child(kTwoThreads);
    REQUIRE(child.falls_asleep());
    Reading reading(child);
    REQUIRE(reading.running->read());
    RawSnapshot& raw = *reading.raw;
    REQUIRE(raw.threads.size() == 2);
    int attempts = 1;
    for (const RawThread& thread : raw.threads) {
        CHECK(thread.outcome.end == StackEnd::kComplete);
        // A call counts when it was seen by two proofs.
        CHECK(thread.outcome.attempts >= 2);
        attempts += thread.outcome.attempts;
        CHECK(thread.info);
        for (const cpython::RawFrame& frame : thread.frames) {
            if (!frame.shim) CHECK(raw.codes.find(frame.code) != nullptr);
        }
    }
    CHECK(reading.running->attempts() + 1 >= attempts);
    CHECK_FALSE(reading.running->was_stopped());
    REQUIRE(raw.names.size() == 1);
    const auto named = [&raw](const char* name) {
        return std::any_of(raw.names[0].begin(), raw.names[0].end(),
                           [name](const auto& item) { return item.second == name; });
    };
    CHECK(named("MainThread"));
    CHECK(named("server"));
    CHECK(raw.gils.size() == 1);
    // Nobody is left at our CPU, and the limits are as before.
    CHECK_FALSE(reading.target->limits().timed_out());
    CHECK(reading.target->limits().charge_steps(1));
}

TEST_CASE("a process that somebody has stopped is said to be so") {
    const PythonChild child(kTwoThreads);
    ::kill(child.pid, SIGSTOP);
    REQUIRE(eventually([&] {
        const auto tasks = process::list_tasks(child.pid);
        return std::all_of(tasks.begin(), tasks.end(), [&](pid_t tid) {
            const auto stat = process::read_stat(child.pid, tid);
            return stat && stat->state == 'T';
        });
    }));
    Reading reading(child);
    REQUIRE(reading.running->read());
    CHECK(reading.running->was_stopped());
    for (const RawThread& thread : reading.raw->threads)
        CHECK(thread.outcome.end == StackEnd::kComplete);
}

TEST_CASE("a reading that was cancelled proves nothing") {
    const PythonChild child(kTwoThreads);
    Reading reading(child);
    // While it is at it: lists are read, or not.
    reading.target->limits().cancel();
    const auto read = reading.running->read();
    if (!read) CHECK(read.error().code == ErrorCode::kCancelled);
    for (const RawThread& thread : reading.raw->threads)
        CHECK(thread.outcome.end != StackEnd::kComplete);
}

TEST_CASE("without memory for frames a thread is left out, and its limits say so") {
    const PythonChild child(kTwoThreads);
    const auto limits = std::make_shared<WorkLimits>();
    Reading reading(child, limits);
    // What is kept for names is left.
    REQUIRE(limits->charge_bytes(limits->bytes_left() - limits->max_bytes() / 8));
    REQUIRE(reading.raw->most_frames() == 0);
    REQUIRE(reading.running->read());
    REQUIRE(reading.raw->threads.size() == 2);
    for (const RawThread& thread : reading.raw->threads) {
        CHECK(thread.outcome.end == StackEnd::kUnreadable);
        REQUIRE(thread.outcome.problem);
        CHECK(thread.outcome.problem->code == ErrorCode::kOutOfMemory);
    }
    CHECK(limits->bytes_refused());
}

TEST_CASE("a stack deeper than the reader goes is cut without touching the memory limit") {
    const PythonChild child(R"(
def recurse(n):
    if n == 0:
        ready()
        time.sleep(1000)
    recurse(n - 1)
recurse(100)
)");
    Reading reading(child, std::make_shared<WorkLimits>(), 20);
    REQUIRE(reading.running->read());
    const RawThread& thread = reading.raw->threads.at(0);
    CHECK(thread.outcome.end == StackEnd::kDepthLimit);
    CHECK(thread.frames.size() == 20);
    CHECK_FALSE(reading.target->limits().bytes_refused());
}

TEST_CASE("exceptions are those of a thread that did not move") {
    const PythonChild child(R"(
def handle():
    try: {}['missing']
    except KeyError:
        ready()
        time.sleep(1000)
handle()
)");
    REQUIRE(child.falls_asleep());
    Reading reading(child);
    REQUIRE(reading.running->read());
    const RawThread& thread = reading.raw->threads.at(0);
    CHECK(thread.exceptions.handling == "KeyError");
    CHECK_FALSE(thread.exceptions.raising);
}

TEST_CASE("a thread that calls all the time takes bounded time, and a torn stack has no frames") {
    const PythonChild child(R"(
def leaf(): pass
def trunk():
    while True: leaf(); leaf(); leaf()
ready()
trunk()
)");
    for (int i = 0; i < 5; ++i) {
        Reading reading(child);
        const auto begin = std::chrono::steady_clock::now();
        REQUIRE(reading.running->read());
        // Some seconds, and a busy machine.
        CHECK(std::chrono::steady_clock::now() - begin < std::chrono::seconds(60));
        const RawThread& thread = reading.raw->threads.at(0);
        CHECK(thread.outcome.attempts > 0);
        if (thread.outcome.end == StackEnd::kTorn) CHECK(thread.frames.empty());
        if (thread.outcome.end == StackEnd::kComplete) CHECK(thread.frames.size() >= 2);
    }
}
