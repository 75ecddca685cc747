#include "sampling/sample_instants.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>

using pystack::sampling::SampleInstants;

namespace {

/// How far off 100 samples tell a function that has `share` of each `period` (in intervals): the
/// mean over many recordings, in points.
double mean_error(double period, double share) {
    constexpr int kRecordings = 400;
    constexpr int kSamples = 100;
    double sum = 0;
    for (int recording = 0; recording < kRecordings; ++recording) {
        SampleInstants instants(static_cast<std::uint32_t>(recording + 1));
        int hits = 0;
        for (int slot = 0; slot < kSamples; ++slot) {
            if (std::fmod(slot + instants.next(), period) < period * share) ++hits;
        }
        sum += std::abs(100.0 * hits / kSamples - 100 * share);
    }
    return sum / kRecordings;
}

}  // namespace

TEST_CASE("each place of the interval is as likely as any other") {
    std::array<int, 10> counts{};
    for (std::uint32_t seed = 1; seed <= 2000; ++seed) {
        SampleInstants instants(seed);
        for (int i = 0; i < 20; ++i) {
            const double place = instants.next();
            REQUIRE(place >= 0);
            REQUIRE(place < 1);
            ++counts[static_cast<std::size_t>(place * 10)];
        }
    }
    for (const int count : counts) CHECK(std::abs(count - 4000) < 200);
}

TEST_CASE("short recordings of what repeats itself are nearly right") {
    // Places by chance: 2.8, 3.6 and 2.8 points.
    CHECK(mean_error(2.0, 0.3) < 1.9);
    CHECK(mean_error(1.0, 0.3) < 1.9);
    CHECK(mean_error(0.5, 0.9) < 1.9);
    // In step with the golden ratio, they are still no worse than twice that.
    CHECK(mean_error(2.618034, 0.3) < 7);
}
