#include "base/work_limits.h"

#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

using pystack::WorkLimits;

TEST_CASE("bytes and steps run out on their own") {
    WorkLimits limits(100, 2);
    CHECK(limits.charge_bytes(60));
    CHECK_FALSE(limits.exhausted());
    CHECK_FALSE(limits.charge_bytes(41));
    CHECK(limits.exhausted());
    CHECK(limits.charge_bytes(40));
    limits.return_bytes(10);
    CHECK(limits.charge_bytes(10));
    CHECK(limits.charge_steps());
    CHECK(limits.charge_steps());
    CHECK_FALSE(limits.charge_steps());
}

TEST_CASE("a cancelled reading is refused everything, and no limit is blamed for it") {
    WorkLimits limits;
    limits.cancel();
    CHECK(limits.cancelled());
    CHECK_FALSE(limits.charge_bytes(1));
    CHECK_FALSE(limits.charge_steps());
    CHECK_FALSE(limits.exhausted());
}

TEST_CASE("after the deadline no step is allowed, until another part of the work begins") {
    constexpr std::uint64_t kMany = 10'000;
    WorkLimits limits;
    limits.end_at(WorkLimits::Clock::now());
    CHECK_FALSE(limits.charge_steps(kMany));
    CHECK(limits.timed_out());
    CHECK_FALSE(limits.charge_steps());
    CHECK(limits.charge_bytes(1));
    CHECK_FALSE(limits.exhausted());  // Whoever sets a deadline says what is missing.

    limits.end_at(WorkLimits::Clock::now() + std::chrono::hours(1));
    CHECK_FALSE(limits.timed_out());
    CHECK(limits.charge_steps(kMany));

    limits.end_at(WorkLimits::Clock::now());
    CHECK_FALSE(limits.charge_steps(kMany));
    limits.never_end();
    CHECK(limits.charge_steps(kMany));
}

TEST_CASE("the clock is looked at after some steps, however small each of them is") {
    WorkLimits limits;
    limits.end_at(WorkLimits::Clock::now());
    int taken = 0;
    while (taken < 100'000 && limits.charge_steps()) ++taken;
    CHECK(taken < 10'000);
}

TEST_CASE("several threads take what there is once, and one of them ends it for all") {
    constexpr std::uint64_t kAll = 100'000;
    constexpr int kThreads = 4;
    WorkLimits limits(kAll, 1'000'000'000);
    std::atomic<std::uint64_t> taken = 0;
    std::vector<std::thread> threads;
    for (int i = 0; i < kThreads; ++i) {
        threads.emplace_back([&] {
            while (limits.charge_bytes(7)) taken += 7;
            // Until somebody cancels.
            limits.end_at(WorkLimits::Clock::now() + std::chrono::hours(1));
            while (limits.charge_steps()) continue;
        });
    }
    while (!limits.bytes_refused()) std::this_thread::yield();
    limits.cancel();
    for (std::thread& thread : threads) thread.join();
    CHECK(taken > kAll - 7);
    CHECK(taken + limits.bytes_left() == kAll);
    CHECK_FALSE(limits.charge_steps());
}
