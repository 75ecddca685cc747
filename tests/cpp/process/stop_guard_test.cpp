#include "process/stop_guard.h"

#include <doctest/doctest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <new>
#include <numeric>
#include <thread>
#include <vector>

#include "process/proc_files.h"
#include "support/eventually.h"
#include "support/stopping_child.h"

using namespace pystack;
using namespace pystack::process;
using namespace pystack::testing;

namespace {

void count_signal(int) {
    ++shared->signals;
}

void many_threads() {
    ::signal(SIGRTMIN, count_signal);
    std::vector<std::thread> threads;
    for (std::size_t i = 1; i < kThreads; ++i) threads.emplace_back(run_forever, i);
    shared->ready = true;
    run_forever(0);
}

void threads_that_come_and_go() {
    shared->ready = true;
    for (;;) {
        std::vector<std::thread> threads;
        for (int i = 0; i < 4; ++i) threads.emplace_back([] { ++shared->steps[1]; });
        for (std::thread& thread : threads) thread.join();
        ++shared->steps[0];
    }
}

void sleeping() {
    shared->ready = true;
    for (;;) ::pause();
}

StopGuard stop(pid_t pid) {
    auto guard = StopGuard::stop(pid);
    REQUIRE_MESSAGE(guard, guard.error().message());
    return std::move(*guard);
}

}  // namespace

TEST_CASE("a process stands still while it is held, and runs on after") {
    const Child child(one_thread);
    CHECK(child.runs());
    for (int time = 0; time < 20; ++time) {
        StopGuard guard = stop(child.pid);
        REQUIRE(guard.threads().size() == 1);
        CHECK(guard.threads()[0].stopped);
        CHECK(state_of(child.pid, child.pid) == 't');
        CHECK(child.stands());
        CHECK_FALSE(guard.was_stopped());
        const auto registers = guard.registers(child.pid);
        REQUIRE(registers);
        CHECK(registers->pc());
        CHECK(registers->sp());
        CHECK_FALSE(registers->syscall());
        CHECK(guard.stop_time().count() > 0);
        if (time % 2 == 0) guard.release();  // The other half by its destructor.
        if (time % 2 == 0) {
            const auto held = guard.stop_time();
            CHECK(child.runs());
            CHECK(guard.stop_time() == held);
            guard.release();
        }
    }
    CHECK(child.runs());
}

TEST_CASE("every thread is held, also of those that come while we look") {
    {
        const Child child(many_threads);
        CHECK(child.runs());
        const StopGuard guard = stop(child.pid);
        CHECK(guard.threads().size() == kThreads);
        std::uint64_t before[kThreads];
        for (std::size_t i = 0; i < kThreads; ++i) before[i] = shared->steps[i];
        ::usleep(20'000);
        for (std::size_t i = 0; i < kThreads; ++i) CHECK(shared->steps[i] == before[i]);
    }
    const Child child(threads_that_come_and_go);
    for (int time = 0; time < 50; ++time) {
        {
            const StopGuard guard = stop(child.pid);
            for (const pid_t tid : list_tasks(child.pid)) {
                // A thread that has ended may still be listed; while it ends, as running, because
                // it does so in the kernel.
                char state = '?';
                const bool is_held = eventually([&] {
                    state = state_of(child.pid, tid);
                    return state == 't' || state == 'X' || state == 'Z' || state == '-';
                });
                CHECK_MESSAGE(is_held, state);
            }
            CHECK(child.stands());
        }
        CHECK(child.runs());
    }
}

TEST_CASE("several threads may stop a target each") {
    constexpr std::size_t kTargets = 4;
    const Child first(&one_thread);
    std::array<pid_t, kTargets> pids{first.pid};
    for (std::size_t i = 1; i < kTargets; ++i) {
        pids[i] = ::fork();
        if (pids[i] == 0) {
            ::prctl(PR_SET_PDEATHSIG, SIGKILL);
            run_forever(i);
        }
    }
    std::atomic<int> stopped = 0;
    std::vector<std::thread> threads;
    for (std::size_t i = 0; i < kTargets; ++i) {
        threads.emplace_back([&, i] {
            StopClock clock({});
            for (int stop = 0; stop < 50; ++stop) {
                auto guard = StopGuard::stop(pids[i], {}, &clock);
                if (!guard) continue;
                const std::uint64_t before = shared->steps[i];
                std::this_thread::sleep_for(std::chrono::microseconds(200));
                if (shared->steps[i] == before) ++stopped;
                guard->release();
                StopGuard::release_late(clock);
            }
        });
    }
    for (std::thread& thread : threads) thread.join();
    CHECK(stopped == 50 * kTargets);
    for (std::size_t i = 1; i < kTargets; ++i) {
        ::kill(pids[i], SIGKILL);
        ::waitpid(pids[i], nullptr, 0);
    }
}

TEST_CASE("no signal is lost, not even those that arrive with a stop") {
    const Child child(many_threads);
    std::atomic<bool> enough = false;
    std::atomic<int> sent = 0;
    std::thread sender([&] {
        // Real-time signals: each counts.
        while (!enough) {
            if (::kill(child.pid, SIGRTMIN) == 0) ++sent;
            ::usleep(50);
        }
    });
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    int pending = 0;
    for (int time = 0; (time < 200 || pending == 0) && std::chrono::steady_clock::now() < end;
         ++time) {
        const StopGuard guard = stop(child.pid);
        for (const StoppedThread& thread : guard.threads())
            pending += thread.pending_signal == SIGRTMIN;
    }
    enough = true;
    sender.join();
    CHECK(pending > 0);
    CHECK(eventually([&] { return shared->signals == sent; }));
    CHECK(child.runs());
}

TEST_CASE("a process that was stopped before is left stopped") {
    const Child child(one_thread);
    ::kill(child.pid, SIGSTOP);
    REQUIRE(eventually([&] { return state_of(child.pid, child.pid) == 'T'; }));
    for (int time = 0; time < 5; ++time) {
        const StopGuard guard = stop(child.pid);
        CHECK(guard.was_stopped());
        CHECK(guard.registers(child.pid));
    }
    CHECK(eventually([&] { return state_of(child.pid, child.pid) == 'T'; }));
    CHECK(child.stands());
    ::kill(child.pid, SIGCONT);
    CHECK(child.runs());
}

TEST_CASE("a thread that sleeps in a call goes on sleeping") {
    const Child child(sleeping);
    REQUIRE(eventually([&] { return state_of(child.pid, child.pid) == 'S'; }));
    {
        const StopGuard guard = stop(child.pid);
        const auto registers = guard.registers(child.pid);
        REQUIRE(registers);
        CHECK(registers->syscall());
    }
    CHECK(eventually([&] { return state_of(child.pid, child.pid) == 'S'; }));
}

TEST_CASE("when the holder is killed the process runs") {
    const Child child(one_thread);
    for (int time = 0; time < 10; ++time) {
        const pid_t holder = ::fork();
        if (holder == 0) {
            const auto guard = StopGuard::stop(child.pid);
            for (;;) ::pause();
        }
        CHECK(eventually([&] { return state_of(child.pid, child.pid) == 't'; }));
        ::kill(holder, SIGKILL);
        ::waitpid(holder, nullptr, 0);
        CHECK(child.runs());
        CHECK(state_of(child.pid, child.pid) != 't');
    }
}

TEST_CASE("refusals are told apart") {
    const auto nobody = StopGuard::stop(0x3fffff);
    REQUIRE_FALSE(nobody);
    CHECK(nobody.error().code == ErrorCode::kNoSuchProcess);

    const Child child(one_thread);
    int tells[2];
    REQUIRE(::pipe(tells) == 0);
    const pid_t other = ::fork();
    if (other == 0) {
        const char answer = ::ptrace(PTRACE_SEIZE, child.pid, nullptr, nullptr) == 0 ? 'y' : 'n';
        (void)!::write(tells[1], &answer, 1);
        for (;;) ::pause();
    }
    char answer = '-';
    REQUIRE(::read(tells[0], &answer, 1) == 1);
    REQUIRE(answer == 'y');
    const auto traced = StopGuard::stop(child.pid);
    REQUIRE_FALSE(traced);
    CHECK(traced.error().code == ErrorCode::kPermissionDenied);
    ::kill(other, SIGKILL);
    ::waitpid(other, nullptr, 0);
    ::close(tells[0]);
    ::close(tells[1]);
    CHECK(child.runs());
    CHECK(StopGuard::stop(child.pid));
}

TEST_CASE("a process that has ended and was not collected") {
    const pid_t pid = ::fork();
    if (pid == 0) ::_exit(0);
    REQUIRE(eventually([&] { return state_of(pid, pid) == 'Z'; }));
    const auto ended = StopGuard::stop(pid);
    REQUIRE_FALSE(ended);
    CHECK(ended.error().code == ErrorCode::kTargetExited);
    ::waitpid(pid, nullptr, 0);
}

TEST_CASE("one thread stands still while the others run") {
    const Child child(many_threads);
    CHECK(child.runs());
    std::vector<pid_t> tids = list_tasks(child.pid);
    REQUIRE(tids.size() == kThreads);
    for (const pid_t tid : tids) {
        auto guard = StopGuard::stop(child.pid, {.only = tid});
        REQUIRE_MESSAGE(guard, guard.error().message());
        REQUIRE(guard->threads().size() == 1);
        CHECK(guard->threads()[0].tid == tid);
        CHECK(guard->registers(tid));
        CHECK(guard->standing_time().count() > 0);
        for (const pid_t other : tids) CHECK((state_of(child.pid, other) == 't') == (other == tid));
        const auto run_ns = read_run_time_ns(child.pid, tid);
        const auto all_steps = [] {
            return std::accumulate(shared->steps, shared->steps + kThreads, std::uint64_t{0});
        };
        const std::uint64_t before = all_steps();
        CHECK(eventually([&] { return all_steps() > before; }));
        CHECK(read_run_time_ns(child.pid, tid) == run_ns);
        guard->release();
        CHECK(guard->standing_time() <= guard->stop_time());
    }
}

TEST_CASE("a thread that another process has now is not stopped") {
    const Child child(one_thread);
    const Child other(sleeping);
    const auto guard = StopGuard::stop(child.pid, {.only = other.pid});
    REQUIRE_FALSE(guard);
    CHECK(guard.error().code == ErrorCode::kTargetExited);
    CHECK(state_of(other.pid, other.pid) != 't');
}

TEST_CASE("a thread that could not be stopped in time is stopped by the next guard, where it was") {
    const Child child(one_thread);
    CHECK(child.runs());
    StopClock clock({});
    // Nobody waits: whether it stands already is a race.
    for (int time = 0; time < 100; ++time) {
        auto hasty = StopGuard::stop(
            child.pid, {.first_patience = std::chrono::milliseconds(0), .only = child.pid}, &clock);
        REQUIRE(hasty);
        const bool was_late = !hasty->threads()[0].stopped;
        hasty->release();
        if (!was_late) continue;
        REQUIRE(eventually([&] { return state_of(child.pid, child.pid) == 't'; }));
        const std::uint64_t steps = shared->steps[0];
        auto guard = StopGuard::stop(child.pid, {.only = child.pid}, &clock);
        REQUIRE(guard);
        CHECK(guard->threads()[0].stopped);
        CHECK(shared->steps[0] == steps);
        CHECK(clock.late_threads().empty());
    }
    CHECK(child.runs());
}

TEST_CASE("a child that ends while it is stopped keeps its status for who started it") {
    for (const int number : {SIGKILL, 0}) {
        const pid_t pid = ::fork();
        if (pid == 0) {
            if (number == 0) ::_exit(7);
            for (;;) ::pause();
        }
        StopClock clock({});
        for (bool ended = false; !ended;) {
            auto guard = StopGuard::stop(pid, {.only = pid}, &clock);
            ended = !guard;
            if (number != 0) ::kill(pid, number);
        }
        int status = 0;
        REQUIRE(::waitpid(pid, &status, 0) == pid);
        if (number != 0) {
            CHECK(WTERMSIG(status) == number);
        } else {
            CHECK(WEXITSTATUS(status) == 7);
        }
    }
}
