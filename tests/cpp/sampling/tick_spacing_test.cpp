#include "sampling/tick_spacing.h"

#include <doctest/doctest.h>

using pystack::sampling::TickSpacing;

namespace {

constexpr std::uint64_t kMs = 1'000'000;

}  // namespace

TEST_CASE("a sample stands for a few intervals at most") {
    TickSpacing spacing(100);
    CHECK(spacing.add(0) == 40 * kMs);
    for (int tick = 0; tick < 100; ++tick) CHECK(spacing.add(10 * kMs) <= 40 * kMs);
    // A stall hardly changes what is usual.
    CHECK(spacing.add(3000 * kMs) <= 40 * kMs);
    CHECK(spacing.add(10 * kMs) <= 56 * kMs);
}

TEST_CASE("a rate that is lower than the requested one becomes usual") {
    TickSpacing spacing(1e6);
    for (int tick = 0; tick < 50; ++tick) spacing.add(kMs);
    CHECK(spacing.add(kMs) > 3 * kMs);
    CHECK(spacing.add(kMs) <= 4 * kMs);
}
