#include "sampling/unclaimed_threads.h"

#include <doctest/doctest.h>

#include <memory>
#include <vector>

#include "support/fake_target.h"

using namespace pystack;
using namespace pystack::sampling;
using pystack::testing::FakeRuntime;
using pystack::testing::FakeTarget;

TEST_CASE("threads that no interpreter knows have the kernel's names, and are known again") {
    FakeRuntime fake(pystack::testing::layout_of(12));
    FakeTarget target(fake);
    target.infos = {{.tid = 5, .name = "io"}, {.tid = 7, .name = "gpu"}};
    ThreadIdentities identities(target, std::make_shared<WorkLimits>());
    UnclaimedThreads threads(target, identities);
    model::Batch batch;
    model::SamplerStats stats;
    const Tick tick{.now_ns = 100,
                    .from_ns = 90,
                    .until_ns = 100,
                    .previous_ns = 85,
                    .most_weight_ns = kAnyWeight,
                    .batch = batch,
                    .stats = stats};

    const std::vector<std::int32_t> both{7, 5};
    const auto first = threads.update(both, tick);
    REQUIRE(first.size() == 2);
    CHECK(first[0].first == 7);
    CHECK(first[0].second->last_ns == 90);
    CHECK(identities.of(first[0].second->index).name == "gpu");
    CHECK(identities.of(first[0].second->index).interpreter_id == model::kNoInterpreter);
    CHECK(identities.of(first[1].second->index).name == "io");

    const std::vector<std::int32_t> one{5};
    const auto again = threads.update(one, tick);
    REQUIRE(again.size() == 1);
    CHECK(again[0].second == first[1].second);
    // Its number may be another thread's by now.
    const auto back = threads.update(both, tick);
    CHECK(back[0].second->index == 2);
}
