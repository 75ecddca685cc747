#include <doctest/doctest.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "process/proc_files.h"
#include "snapshot/capture.h"
#include "support/eventually.h"
#include "support/python_child.h"
#include "support/snapshot_parts.h"

using namespace pystack;
using namespace pystack::snapshot;
using model::StackEnd;
using pystack::testing::eventually;
using pystack::testing::functions_of;
using pystack::testing::mentions;
using pystack::testing::PythonChild;

namespace {

/// Enough to find the interpreter and for some thousand frames.
constexpr std::uint64_t kLittleMemory = 4 << 20;

/// Threads that sleep, each in functions of its own.
constexpr const char* kSleepers = R"(
def inner(secret):
    kept = 'value-' + secret
    arrive(3)
    while True: time.sleep(1000)
def first(): inner('one')
def second(): inner('two')
threading.Thread(target=first, name='first-name').start()
threading.Thread(target=second, name='second-name').start()
inner('last')
)";

bool has(const std::vector<std::string>& names, std::string_view name) {
    return std::find(names.begin(), names.end(), name) != names.end();
}

model::Snapshot capture(const PythonChild& child, const CaptureOptions& options = {}) {
    auto snapshot = capture_live(child.pid, options);
    REQUIRE_MESSAGE(snapshot, snapshot.error().message());
    return *std::move(snapshot);
}

char state_of(pid_t pid) {
    const auto stat = process::read_stat(pid, pid);
    return stat ? stat->state : '-';
}

using Names = std::vector<std::string>;

}  // namespace

TEST_CASE("threads of a live process, the main one first, stopped and not") {
    const PythonChild child(kSleepers);
    REQUIRE(child.falls_asleep());
    for (const bool stop : {true, false}) {
        CAPTURE(stop);
        const model::Snapshot snapshot = capture(child, {.stop = stop});
        CHECK(snapshot.pid == child.pid);
        CHECK(snapshot.stopped == stop);
        CHECK(snapshot.stop_ns.has_value() == stop);
        CHECK_FALSE(snapshot.was_stopped);
        CHECK_FALSE(snapshot.core);
        CHECK(snapshot.problems.empty());
        REQUIRE(snapshot.threads.size() == 3);
        for (const model::Thread& thread : snapshot.threads) {
            CHECK(thread.stack_end == StackEnd::kComplete);
            CHECK(functions_of(thread).back() == "inner");
            CHECK(thread.gil == model::GilState::kNone);
        }
        CHECK(snapshot.threads[0].is_main == true);
        CHECK(snapshot.threads[0].tid == child.pid);
        CHECK(functions_of(snapshot.threads[0]) == Names{"<module>", "inner"});
        CHECK(has(functions_of(snapshot.threads[1]), "first"));
        CHECK(has(functions_of(snapshot.threads[2]), "second"));
        CHECK(snapshot.threads[1].name == "first-name");
        CHECK(snapshot.threads[2].name == "second-name");
        CHECK(snapshot.attempts >= (stop ? 1 : 3));
        CHECK(eventually([&] { return state_of(child.pid) == 'S'; }));
    }
}

TEST_CASE("native frames are read of a stopped process only, variables of one that stands still") {
    const PythonChild child(kSleepers);
    REQUIRE(child.falls_asleep());
    CaptureOptions options{.locals = LocalsOptions{}, .native = merge::NativeOptions{}};
    const model::Snapshot snapshot = capture(child, options);
    const model::Thread& main = snapshot.threads.at(0);
    const auto inner = std::find_if(main.frames.begin(), main.frames.end(),
                                    [](const auto& frame) { return frame.function == "inner"; });
    REQUIRE(inner != main.frames.end());
    REQUIRE(inner->variables);
    REQUIRE(inner->variables->variables.size() == 2);
    CHECK(inner->variables->variables[0].name == "secret");
    CHECK(inner->variables->variables[0].value == "'last'");
    CHECK(inner->variables->variables[1].value == "'value-last'");
    // It sleeps below the function, in code that is not Python.
    CHECK(main.frames.back().kind == model::FrameKind::kNative);
    CHECK(inner + 1 < main.frames.end());

    const auto none = capture_live(child.pid, {.stop = false, .native = merge::NativeOptions{}});
    REQUIRE_FALSE(none);
    CHECK(none.error().code == ErrorCode::kInvalidArgument);

    REQUIRE(child.falls_asleep());
    const model::Snapshot still = capture(child, {.stop = false, .locals = LocalsOptions{}});
    CHECK(still.problems.empty());
    const auto same =
        std::ranges::find(still.threads.at(0).frames, "inner", &model::Frame::function);
    REQUIRE(same != still.threads.at(0).frames.end());
    REQUIRE(same->variables);
    CHECK(same->variables->variables.size() == 2);
}

TEST_CASE("native frames alone, of threads that Python does not know too") {
    const PythonChild child(kSleepers);
    REQUIRE(child.falls_asleep());
    const model::Snapshot last =
        capture(child, {.native = merge::NativeOptions{.last_only = true}});
    for (const model::Thread& thread : last.threads) {
        const auto python = [](const model::Frame& frame) {
            return frame.kind == model::FrameKind::kPython;
        };
        // Python frames, and behind the last of them native ones only.
        const auto native = std::find_if_not(thread.frames.begin(), thread.frames.end(), python);
        CHECK(native != thread.frames.begin());
        CHECK(native != thread.frames.end());
        CHECK(std::none_of(native, thread.frames.end(), python));
    }
    const model::Snapshot all =
        capture(child, {.native = merge::NativeOptions{.all_threads = true}});
    CHECK(all.threads.size() == process::list_tasks(child.pid).size());
}

TEST_CASE("a process that runs and calls all the time is proved or said to be torn") {
    const PythonChild child(R"(
def leaf(n): return n
def branch(n):
    for i in range(50): leaf(i)
def trunk():
    while True: branch(1)
ready()
trunk()
)");
    for (int i = 0; i < 20; ++i) {
        const model::Snapshot snapshot = capture(child, {.stop = false});
        REQUIRE(snapshot.threads.size() == 1);
        const model::Thread& thread = snapshot.threads[0];
        if (thread.stack_end == StackEnd::kTorn) {
            CHECK(thread.frames.empty());
            CHECK_FALSE(thread.stack_problem.empty());
            continue;
        }
        REQUIRE(thread.stack_end == StackEnd::kComplete);
        if (has(functions_of(thread), "ready")) continue;  // It has not begun yet.
        const Names whole{"<module>", "trunk", "branch", "leaf"};
        const Names found = functions_of(thread);
        REQUIRE(found.size() >= 2);
        REQUIRE(found.size() <= whole.size());
        CHECK(std::equal(found.begin(), found.end(), whole.begin()));
        CHECK(thread.gil == model::GilState::kHolds);
    }
}

TEST_CASE("a stack deeper than asked for keeps its innermost frames") {
    const PythonChild child(R"(
def recurse(n):
    if n == 0:
        ready()
        time.sleep(1000)
    recurse(n - 1)
recurse(200)
)");
    REQUIRE(child.falls_asleep());
    for (const bool stop : {true, false}) {
        CAPTURE(stop);
        const model::Snapshot cut = capture(child, {.stop = stop, .max_depth = 50});
        const model::Thread& thread = cut.threads.at(0);
        CHECK(thread.stack_end == StackEnd::kDepthLimit);
        CHECK(thread.frames.size() == 50);
        CHECK(functions_of(thread) == Names(50, "recurse"));
        CHECK(cut.problems.empty());
        const model::Snapshot whole = capture(child, {.stop = stop});
        CHECK(whole.threads.at(0).stack_end == StackEnd::kComplete);
        CHECK(whole.threads.at(0).frames.size() == 202);
    }
}

TEST_CASE("what the memory limit leaves out is said") {
    const PythonChild child(R"(
def recurse(n):
    if n == 0:
        arrive(9)
        time.sleep(1000)
    recurse(n - 1)
for i in range(8): threading.Thread(target=recurse, args=(900,)).start()
recurse(900)
)");
    for (const bool stop : {true, false}) {
        CAPTURE(stop);
        const model::Snapshot snapshot =
            capture(child, {.stop = stop, .limits = std::make_shared<WorkLimits>(kLittleMemory)});
        CHECK(mentions(snapshot.problems, "memory limit of 4 MiB was reached"));
        REQUIRE(snapshot.threads.size() == 9);
        std::size_t whole = 0;
        for (const model::Thread& thread : snapshot.threads) {
            if (thread.stack_end == StackEnd::kComplete) {
                CHECK(thread.frames.size() > 900);
                ++whole;
            } else {
                CHECK_FALSE(thread.stack_problem.empty());
            }
        }
        CHECK(whole > 0);
        CHECK(whole < 9);
    }
}

TEST_CASE("a process that was stopped before stays stopped") {
    const PythonChild child(kSleepers);
    ::kill(child.pid, SIGSTOP);
    REQUIRE(eventually([&] { return state_of(child.pid) == 'T'; }));
    for (const bool stop : {true, false}) {
        CAPTURE(stop);
        const model::Snapshot snapshot = capture(child, {.stop = stop});
        CHECK(snapshot.was_stopped);
        CHECK(snapshot.threads.size() == 3);
        CHECK(eventually([&] { return state_of(child.pid) == 'T'; }));
    }
    ::kill(child.pid, SIGCONT);
    CHECK(eventually([&] { return state_of(child.pid) == 'S'; }));
}

TEST_CASE("a reading that is cancelled ends with that, from any thread") {
    const PythonChild child(kSleepers);
    for (const bool stop : {true, false}) {
        const auto limits = std::make_shared<WorkLimits>();
        limits->cancel();
        const auto cancelled = capture_live(child.pid, {.stop = stop, .limits = limits});
        REQUIRE_FALSE(cancelled);
        CHECK(cancelled.error().code == ErrorCode::kCancelled);
    }
    std::size_t ended = 0;
    for (int i = 0; i < 12; ++i) {
        const auto limits = std::make_shared<WorkLimits>();
        std::thread other([&limits, i] {
            std::this_thread::sleep_for(std::chrono::milliseconds(4 * i));
            limits->cancel();
        });
        const auto snapshot = capture_live(
            child.pid, {.stop = i % 2 == 0,
                        .native = i % 2 == 0 ? std::optional(merge::NativeOptions{}) : std::nullopt,
                        .limits = limits});
        other.join();
        if (!snapshot) {
            CHECK(snapshot.error().code == ErrorCode::kCancelled);
            ++ended;
        } else {
            CHECK(snapshot->threads.size() == 3);
        }
        CHECK(eventually([&] { return state_of(child.pid) == 'S'; }));
    }
    CHECK(ended > 0);
}

TEST_CASE("no process, no Python, and a process that has ended") {
    const auto none = capture_live(1 << 23, {});
    REQUIRE_FALSE(none);
    CHECK(none.error().code == ErrorCode::kNoSuchProcess);

    const pid_t other = ::fork();
    if (other == 0) {
        for (;;) ::pause();
    }
    const auto foreign = capture_live(other, {});
    ::kill(other, SIGKILL);
    ::waitpid(other, nullptr, 0);
    REQUIRE_FALSE(foreign);
    CHECK(foreign.error().code == ErrorCode::kNotPython);

    PythonChild child(kSleepers);
    ::kill(child.pid, SIGKILL);
    // All of its threads: until the last has ended, it can look like a program without Python.
    REQUIRE(eventually(
        [&] { return state_of(child.pid) == 'Z' && process::list_tasks(child.pid).size() == 1; }));
    const auto dead = capture_live(child.pid, {});
    REQUIRE_FALSE(dead);
    CHECK(dead.error().code == ErrorCode::kUnsupportedTarget);
}

TEST_CASE("several threads may read one process, one after the other, while others read another") {
    const PythonChild one(kSleepers);
    const PythonChild other(kSleepers);
    std::vector<std::thread> readers;
    std::atomic<int> right = 0;
    for (const pid_t pid : {one.pid, other.pid}) {
        readers.emplace_back([pid, &right] {
            for (int i = 0; i < 5; ++i) {
                const auto snapshot = capture_live(pid, {.stop = i % 2 == 0});
                if (snapshot && snapshot->threads.size() == 3) ++right;
            }
        });
    }
    for (std::thread& reader : readers) reader.join();
    CHECK(right == 10);
}
