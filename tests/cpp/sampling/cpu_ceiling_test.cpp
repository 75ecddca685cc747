#include "sampling/cpu_ceiling.h"

#include <algorithm>
#include <cstdint>
#include <list>

#include <doctest/doctest.h>

using pystack::sampling::CpuCeiling;

namespace {

constexpr std::uint64_t kMs = 1'000'000;

/// The share of a CPU that turns of 10 ms take, each begun as soon as it may.
double share_of(CpuCeiling& ceiling) {
    constexpr int kTurns = 1000;
    std::uint64_t now = 0;
    std::uint64_t cpu = 0;
    for (int i = 0; i < kTurns; ++i) {
        now += 10 * kMs;
        cpu += 10 * kMs;
        now = std::max(now, ceiling.next_start(now, cpu, 0).cpu_ns);
    }
    return static_cast<double>(cpu) / static_cast<double>(now);
}

}  // namespace

TEST_CASE("one thread stays below its share") {
    CpuCeiling fifth({.cpu = 0.2}, 0, 2);
    CHECK(share_of(fifth) == doctest::Approx(0.2).epsilon(0.02));
    CpuCeiling all({.cpu = 1}, 0, 2);
    CHECK(share_of(all) == 1);
}

TEST_CASE("a tiny share is a long pause") {
    for (const double share : {1e-9, 1e-15, 1e-300}) {
        CpuCeiling ceiling({.cpu = share}, 0, 2);
        CHECK(ceiling.next_start(10 * kMs, 10 * kMs, 0).cpu_ns > 3'600'000 * kMs);
    }
}

TEST_CASE("more threads than CPUs have half of the CPUs together") {
    std::list<CpuCeiling> others;
    for (int i = 0; i < 9; ++i) others.emplace_back(CpuCeiling::Shares{}, 0, 4);
    {
        CpuCeiling tenth({.cpu = 1}, 0, 4);
        CHECK(share_of(tenth) == doctest::Approx(0.2).epsilon(0.02));
        CpuCeiling modest({.cpu = 0.05}, 0, 4);
        CHECK(share_of(modest) == doctest::Approx(0.05).epsilon(0.02));
    }
    while (others.size() > 3) others.pop_back();
    CpuCeiling fourth({.cpu = 1}, 0, 4);
    CHECK(share_of(fourth) == 1);
}

TEST_CASE("threads stand still for a share of the time of their own") {
    const auto standing_share = [](CpuCeiling& ceiling) {
        std::uint64_t now = 0;
        std::uint64_t standing = 0;
        for (int i = 0; i < 1000; ++i) {
            now += 30 * kMs;
            standing += 30 * kMs;
            const auto next =
                ceiling.next_start(now, static_cast<std::uint64_t>(i) * kMs, standing);
            CHECK(next.cpu_ns <= now);
            now = std::max(now, next.stops_ns);
        }
        return static_cast<double>(standing) / static_cast<double>(now);
    };
    CpuCeiling fifth({.stops = 0.2}, 0, 2);
    CHECK(standing_share(fifth) == doctest::Approx(0.2).epsilon(0.02));
    CpuCeiling all({}, 0, 2);
    CHECK(standing_share(all) == 1);
}

TEST_CASE("of a first turn the CPU time can be forgiven, but not the standing time") {
    CpuCeiling fifth({.cpu = 0.2, .stops = 0.2}, 0, 2);
    fifth.forgive_cpu(1000 * kMs);
    CHECK(fifth.next_start(1000 * kMs, 1000 * kMs, 0).cpu_ns <= 1000 * kMs);
    CHECK(fifth.next_start(1000 * kMs, 1000 * kMs, 1000 * kMs).stops_ns > 5000 * kMs);
}

TEST_CASE("a burst is allowed, but what was not used long ago is gone") {
    CpuCeiling fifth({.cpu = 0.2}, 0, 2);
    // 10 s in which nothing was used.
    CHECK(fifth.next_start(10'000 * kMs, 0, 0).cpu_ns <= 10'000 * kMs);
    // 40 ms are 200 ms of its share: the burst.
    CHECK(fifth.next_start(10'040 * kMs, 40 * kMs, 0).cpu_ns <= 10'040 * kMs);
    // The next second of CPU is paid for at once.
    CHECK(fifth.next_start(11'040 * kMs, 1040 * kMs, 0).cpu_ns == 15'000 * kMs);
}
