// How long StopGuard keeps a target stopped that does its best to be stopped for long.

#include <doctest/doctest.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <thread>
#include <vector>

#include "process/proc_files.h"
#include "process/stop_clock.h"
#include "process/stop_guard.h"
#include "support/eventually.h"
#include "support/stopping_child.h"

using namespace pystack;
using namespace pystack::process;
using namespace pystack::testing;

namespace {

constexpr std::size_t kSleepers = 1000;

void with_many_sleepers() {
    std::vector<std::thread> threads;
    for (std::size_t i = 0; i < kSleepers; ++i) {
        threads.emplace_back([] {
            for (;;) ::pause();
        });
    }
    shared->ready = true;
    run_forever(0);
}

/// One thread sleeps uninterruptibly until the child that it made by vfork has ended.
void with_vfork_parent() {
    std::thread parent([] {
        const pid_t child = ::vfork();
        if (child == 0) {
            ::prctl(PR_SET_PDEATHSIG, SIGKILL);
            shared->steps[1] = static_cast<std::uint64_t>(::getpid());
            for (;;) ::pause();
        }
        run_forever(2);
    });
    while (shared->steps[1] == 0) ::usleep(100);
    shared->ready = true;
    run_forever(0);
}

bool is_traced(pid_t pid) {
    const auto tids = list_tasks(pid);
    return std::any_of(tids.begin(), tids.end(), [pid](pid_t tid) {
        const auto status = read_proc_file("/proc/" + std::to_string(pid) + "/task/" +
                                           std::to_string(tid) + "/status");
        return status && status_field(*status, "TracerPid") != "0";
    });
}

}  // namespace

TEST_CASE("a stop is given up in time for the releases, and nothing stays traced") {
    const Child child(with_many_sleepers);
    for (const auto limit : {std::chrono::microseconds(0), std::chrono::microseconds(500)}) {
        StopClock clock({.limit = limit});
        const auto guard = StopGuard::stop(child.pid, {}, &clock);
        REQUIRE_FALSE(guard);
        CHECK(guard.error().code == ErrorCode::kSystem);
        CHECK(clock.was_over());
        CHECK(clock.was_too_long());
        CHECK(clock.standing_time().count() > 0);
        CHECK(eventually([&] { return !StopGuard::release_late(clock); }));
        CHECK_FALSE(is_traced(child.pid));
        CHECK(child.runs());
    }
    StopClock clock({});
    const auto guard = StopGuard::stop(child.pid, {}, &clock);
    REQUIRE(guard);
    CHECK(guard->threads().size() == kSleepers + 1);
    CHECK_FALSE(clock.was_too_long());
}

TEST_CASE("the time that releasing takes is kept free") {
    StopClock clock({.limit = std::chrono::seconds(100)});
    REQUIRE(clock.begin());
    clock.note_standstill();
    clock.note_release(100, std::chrono::seconds(100));
    clock.set_held(10);  // 12.5 s.
    CHECK_FALSE(clock.is_over());
    CHECK_FALSE(clock.is_over(std::chrono::seconds(50)));
    CHECK(clock.is_over(std::chrono::seconds(90)));
    CHECK(clock.was_too_long());
    clock.end();
    REQUIRE(clock.begin());
    CHECK_FALSE(clock.was_too_long());
    clock.end();
}

TEST_CASE("a thread that sleeps uninterruptibly is waited for once") {
    const Child child(with_vfork_parent);
    const auto vfork_child = static_cast<pid_t>(shared->steps[1].load());
    const auto tids = list_tasks(child.pid);
    const auto parent =
        std::find_if(tids.begin(), tids.end(), [&](pid_t tid) { return tid != child.pid; });
    REQUIRE(parent != tids.end());
    REQUIRE(eventually([&] { return state_of(child.pid, *parent) == 'D'; }));
    StopClock clock({.limit = std::chrono::minutes(10)});
    const auto is_stopped = [&](const StopGuard& guard) {
        const auto thread =
            std::find_if(guard.threads().begin(), guard.threads().end(),
                         [&](const StoppedThread& one) { return one.tid == *parent; });
        REQUIRE(thread != guard.threads().end());
        return thread->stopped;
    };
    {
        const auto guard = StopGuard::stop(child.pid, {}, &clock);
        REQUIRE(guard);
        CHECK_FALSE(is_stopped(*guard));
    }
    constexpr auto kForEver = std::chrono::seconds(30);
    const StopGuard::Limits patient{
        .patience = kForEver, .busy_patience = kForEver, .first_patience = kForEver};
    const auto begin = std::chrono::steady_clock::now();
    for (int time = 0; time < 3; ++time) {
        const auto guard = StopGuard::stop(child.pid, patient, &clock);
        REQUIRE(guard);
        CHECK(guard->threads().size() == 2);
        CHECK_FALSE(is_stopped(*guard));
        CHECK(child.stands());
    }
    CHECK(std::chrono::steady_clock::now() - begin < kForEver);
    CHECK(child.runs());

    // It is stopped again once it does not sleep any more.
    ::kill(vfork_child, SIGKILL);
    CHECK(eventually([&] { return !StopGuard::release_late(clock); }));
    CHECK(eventually([&] { return shared->steps[2] > 100; }));
    const auto guard = StopGuard::stop(child.pid, patient, &clock);
    REQUIRE(guard);
    CHECK(is_stopped(*guard));
}
