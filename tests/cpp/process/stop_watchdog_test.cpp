#include "process/stop_watchdog.h"

#include <doctest/doctest.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <random>
#include <thread>
#include <vector>

#include "process/stop_clock.h"
#include "process/stop_guard.h"
#include "support/stopping_child.h"

using namespace pystack;
using namespace pystack::process;
using namespace pystack::testing;

namespace {

using Clock = std::chrono::steady_clock;

constexpr int kStops = 200;
/// The watchdog needs some 20 ms for a stopped tool and 55 ms for one that a debugger holds. These
/// machines may have other work.
constexpr auto kBound = std::chrono::seconds(2);

/// A process that does nothing but stopping another, half of the time.
class Tool {
  public:
    explicit Tool(pid_t target) {
        pid = ::fork();
        if (pid == 0) {
            ::prctl(PR_SET_PDEATHSIG, SIGKILL);
            // SIGTSTP stops nobody in an orphaned process group, in which a test may run.
            ::setpgid(0, 0);
            StopClock clock({});
            for (;;) {
                if (const auto guard = StopGuard::stop(target, {}, &clock); guard) {
                    std::this_thread::sleep_for(std::chrono::microseconds(500));
                    ++shared->steps[1];
                }
                StopGuard::release_late(clock);
                std::this_thread::sleep_for(std::chrono::microseconds(500));
            }
        }
        REQUIRE(pid > 0);
        CHECK(stops());
    }
    ~Tool() {
        if (is_reaped) return;
        ::kill(pid, SIGKILL);
        ::waitpid(pid, nullptr, __WALL);
    }
    Tool(const Tool&) = delete;
    Tool& operator=(const Tool&) = delete;

    bool stops() const {
        const std::uint64_t before = shared->steps[1];
        return eventually([&] { return shared->steps[1] > before + 2; });
    }

    pid_t pid;
    bool is_reaped = false;
};

/// How long the child does not run, from now on.
Clock::duration gap() {
    const auto begin = Clock::now();
    const std::uint64_t before = shared->steps[0];
    while (shared->steps[0] < before + 100 && Clock::now() - begin < 2 * kBound) ::usleep(200);
    return Clock::now() - begin;
}

}  // namespace

TEST_CASE("a target runs while the tool is stopped, and the tool stays stopped") {
    const Child child(one_thread);
    const Tool tool(child.pid);
    std::minstd_rand random(1);
    auto worst = Clock::duration::zero();
    for (int time = 0; time < kStops; ++time) {
        ::usleep(static_cast<useconds_t>(random() % 3000));
        ::kill(tool.pid, time % 2 == 0 ? SIGSTOP : SIGTSTP);
        worst = std::max(worst, gap());
        REQUIRE(eventually([&] { return state_of(tool.pid, tool.pid) == 'T'; }));
        worst = std::max(worst, gap());
        ::kill(tool.pid, SIGCONT);
    }
    MESSAGE("longest: ", std::chrono::duration_cast<std::chrono::milliseconds>(worst).count(),
            " ms");
    CHECK(worst < kBound);
    CHECK(tool.stops());
    CHECK(child.runs());
}

TEST_CASE("a target runs although a debugger holds the tool") {
    const Child child(one_thread);
    std::minstd_rand random(2);
    auto worst = Clock::duration::zero();
    int killed = 0;
    std::optional<Tool> tool;
    for (int time = 0; time < kStops; ++time) {
        if (!tool) tool.emplace(child.pid);
        ::usleep(static_cast<useconds_t>(random() % 3000));
        REQUIRE(::ptrace(PTRACE_SEIZE, tool->pid, nullptr, nullptr) == 0);
        REQUIRE(::ptrace(PTRACE_INTERRUPT, tool->pid, nullptr, nullptr) == 0);
        int status = 0;
        REQUIRE(::waitpid(tool->pid, &status, __WALL) == tool->pid);
        worst = std::max(worst, gap());
        // It was killed, or it was interrupted between two stops and can go on.
        if (!WIFSTOPPED(status)) {
            tool->is_reaped = true;
            ++killed;
            tool.reset();
        } else if (state_of(tool->pid, tool->pid) != 't' ||
                   ::ptrace(PTRACE_DETACH, tool->pid, nullptr, nullptr) != 0) {
            ++killed;
            tool.reset();
        }
    }
    MESSAGE("longest: ", std::chrono::duration_cast<std::chrono::milliseconds>(worst).count(),
            " ms, killed: ", killed);
    CHECK(worst < kBound);
    CHECK(killed > 0);
    CHECK(child.runs());
}

TEST_CASE("a program that uses the watchdog does not notice it") {
    REQUIRE(::waitpid(-1, nullptr, WNOHANG) == -1);
    auto watchdog = StopWatchdog::share(false);
    REQUIRE(watchdog);
    CHECK(StopWatchdog::share(false) == watchdog);
    const pid_t pid = watchdog->pid();
    CHECK(state_of(pid, pid) != '-');
    CHECK(::waitpid(-1, nullptr, WNOHANG) == -1);  // No child of the usual kind.
    CHECK(eventually([&] {
        return !read_proc_file("/proc/" + std::to_string(pid) + "/fdinfo/1") &&
               ::getsid(pid) == pid;
    }));
    watchdog.reset();
    CHECK(state_of(pid, pid) == '-');
    CHECK(::waitpid(-1, nullptr, WNOHANG) == -1);
}

TEST_CASE("the watchdog ends with its process") {
    int ends[2];
    REQUIRE(::pipe(ends) == 0);
    const pid_t user = ::fork();
    if (user == 0) {
        const auto watchdog = StopWatchdog::share(false);
        const pid_t pid = watchdog->pid();
        (void)!::write(ends[1], &pid, sizeof pid);
        for (;;) ::pause();
    }
    pid_t pid = 0;
    REQUIRE(::read(ends[0], &pid, sizeof pid) == sizeof pid);
    ::close(ends[0]);
    ::close(ends[1]);
    ::kill(user, SIGKILL);
    ::waitpid(user, nullptr, 0);
    CHECK(eventually([&] {
        const char state = state_of(pid, pid);
        return state == '-' || state == 'Z';  // Nobody may be there to collect it.
    }));
}

TEST_CASE("threads share one watchdog") {
    const auto kept = StopWatchdog::share(false);
    REQUIRE(kept);
    std::atomic<int> shared_by = 0;
    std::vector<std::thread> threads;
    for (int i = 0; i < 8; ++i) {
        threads.emplace_back([&] {
            if (StopWatchdog::share(false) == kept) ++shared_by;
        });
    }
    for (std::thread& thread : threads) thread.join();
    CHECK(shared_by == 8);
}

TEST_CASE("a stop ends reading after its limit") {
    const Child child(one_thread);
    StopClock clock({.limit = std::chrono::milliseconds(20)});
    CHECK(clock.is_open());
    {
        auto guard = StopGuard::stop(child.pid, {}, &clock);
        REQUIRE(guard);
        CHECK(eventually([&] { return !clock.is_open(); }));
        CHECK(clock.is_over());
        guard->release();
        CHECK(clock.was_over());
        CHECK(clock.is_open());
    }
    CHECK(child.runs());
    const auto guard = StopGuard::stop(child.pid, {}, &clock);
    CHECK(guard);
    CHECK_FALSE(clock.was_over());
}

TEST_CASE("a thread that this thread traces already is not refused") {
    const Child child(one_thread);
    REQUIRE(::ptrace(PTRACE_SEIZE, child.pid, nullptr, nullptr) == 0);
    {
        const auto guard = StopGuard::stop(child.pid);
        REQUIRE(guard);
        CHECK(child.stands());
    }
    CHECK(child.runs());
    CHECK(process::read_proc_file("/proc/" + std::to_string(child.pid) + "/status")
              ->find("TracerPid:\t0\n") != std::string::npos);
}
