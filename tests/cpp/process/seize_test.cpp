#include "process/seize.h"

#include <doctest/doctest.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <thread>

#include "process/proc_files.h"
#include "process/stop_guard.h"
#include "support/stopping_child.h"

using namespace pystack;
using namespace pystack::process;
using namespace pystack::testing;

namespace {

// The watchdog looks every 10 ms. Without it, this takes for ever.
constexpr auto kBound = std::chrono::seconds(10);

/// Three threads, of which the last executes a program when it is told to.
void executes_when_told() {
    std::thread([] { run_forever(0); }).detach();
    std::thread([] {
        shared->ready = true;
        while (shared->signals == 0) ::usleep(1000);
        ::execl("/bin/sleep", "sleep", "1000", nullptr);
    }).detach();
    for (;;) ::pause();
}

}  // namespace

TEST_CASE("a thread that executes a program and its tracer do not wait for each other") {
    const Child child(executes_when_told);
    std::vector<pid_t> tids = list_tasks(child.pid);
    REQUIRE(tids.size() == 3);
    StopClock clock({});
    REQUIRE(clock.begin());
    const std::array seized{StoppedThread{.tid = tids[1]}};
    REQUIRE(seize(tids[1], {}, &clock) == 0);
    shared->signals = 1;
    // It was ended by the execution, which waits for us to notice.
    REQUIRE(eventually([&] { return state_of(child.pid, tids[1]) == 'Z'; }));
    const auto begin = std::chrono::steady_clock::now();
    const int error = seize(tids[2], seized, &clock);
    CHECK(std::chrono::steady_clock::now() - begin < kBound);
    CHECK((error == 0 || error == ESRCH || error == EPERM));
    // What was collected meanwhile has ended, and says so.
    CHECK(::waitpid(tids[1], nullptr, __WALL | WNOHANG) == -1);
    CHECK(eventually([&] { return list_tasks(child.pid).size() == 1; }));
    clock.end();
    // Ends with the child what was seized.
}

TEST_CASE("threads that were killed while they stood still are collected") {
    const Child child(executes_when_told);
    StopClock clock({});
    auto guard = StopGuard::stop(child.pid, {}, &clock);
    REQUIRE(guard);
    REQUIRE(guard->threads().size() == 3);
    ::kill(child.pid, SIGKILL);
    guard->release();
    // The main thread is for its parent, who is not asked here.
    CHECK(eventually([&] {
        StopGuard::release_late(clock);
        return list_tasks(child.pid).size() <= 1;
    }));
}
