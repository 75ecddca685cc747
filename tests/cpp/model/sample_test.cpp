#include "model/sample.h"

#include <doctest/doctest.h>

#include <set>
#include <string>

using namespace pystack::model;

TEST_CASE("the counts of two stretches of time become those of both") {
    SamplerStats total{.attempted = 3, .taken = 2, .stop_ns_max = 70};
    total.count_stop(1500);
    SamplerStats later{.attempted = 5, .torn = 1, .maps_left_out = 1};
    later.count_stop(900);
    add_stats(total, later);
    CHECK(total.attempted == 8);
    CHECK(total.taken == 2);
    CHECK(total.torn == 1);
    CHECK(total.maps_left_out == 1);
    CHECK(total.stop_ns_total == 2400);
    CHECK(total.stop_ns_max == 1500);
    CHECK(total.stops[0] == 1);
    CHECK(total.stops[1] == 1);
    add_stats(total, {});
    CHECK(total.attempted == 8);
    CHECK(total.stop_ns_max == 1500);
}

TEST_CASE("every count is listed once") {
    std::set<std::string> names;
    std::size_t rows = 0;
    for_each_count([&](const char* name, auto, CountMerge) {
        names.insert(name);
        ++rows;
    });
    CHECK(names.size() == rows);
    CHECK(names.contains("stop_ns_max"));
}
