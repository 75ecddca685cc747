#include "cpython/frames/recent_ranges.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <vector>

using namespace pystack;
using namespace pystack::cpython;

namespace {

RemoteRange range(std::uint64_t number) {
    return {{number * 0x100}, {number * 0x100 + 0x40}};
}

std::vector<RemoteRange> all(const RecentRanges& ranges) {
    std::vector<RemoteRange> found;
    ranges.for_each([&](RemoteRange range) { found.push_back(range); });
    return found;
}

void count_proofs(RecentRanges& ranges, std::uint32_t count) {
    for (std::uint32_t i = 0; i < count; ++i) ranges.count_proof();
}

}  // namespace

TEST_CASE("ranges expire after as many proofs as they are worth") {
    RecentRanges ranges;
    ranges.add_proved(range(1));
    ranges.add_unproved(range(2));
    count_proofs(ranges, RecentRanges::kUnprovedProofs);
    CHECK_FALSE(ranges.has_expired());
    ranges.count_proof();
    CHECK(ranges.has_expired());
    CHECK(all(ranges).size() == 2);
    ranges.remove_expired();
    CHECK(all(ranges) == std::vector{range(1)});
    count_proofs(ranges, RecentRanges::kProvedProofs - RecentRanges::kUnprovedProofs);
    ranges.remove_expired();
    CHECK(all(ranges).empty());
}

TEST_CASE("a range that comes again is kept longer, never shorter") {
    RecentRanges ranges;
    ranges.add_proved(range(1));
    ranges.add_unproved(range(1));
    count_proofs(ranges, RecentRanges::kProvedProofs);
    CHECK_FALSE(ranges.has_expired());
    ranges.add_unproved(range(1));
    count_proofs(ranges, RecentRanges::kUnprovedProofs);
    CHECK_FALSE(ranges.has_expired());
    CHECK(all(ranges).size() == 1);
    ranges.count_proof();
    CHECK(ranges.has_expired());
}

TEST_CASE("where there are too many, the one that expires first is replaced") {
    RecentRanges ranges;
    for (std::uint64_t i = 0; i < RecentRanges::kMost; ++i) {
        if (i == 20) {
            ranges.add_unproved(range(i));
        } else {
            ranges.add_proved(range(i));
        }
    }
    ranges.add_proved(range(100));
    const auto found = all(ranges);
    CHECK(found.size() == RecentRanges::kMost);
    CHECK(std::count(found.begin(), found.end(), range(20)) == 0);
    CHECK(found[20] == range(100));
    CHECK(found.front() == range(0));
}
