#include "sampling/task_rows.h"

#include <doctest/doctest.h>

#include <memory>
#include <string>
#include <vector>

#include "support/fake_target.h"

using namespace pystack;
using namespace pystack::sampling;
using pystack::testing::FakeRuntime;
using pystack::testing::FakeTarget;

namespace {

constexpr std::uint64_t kMs = 1'000'000;
constexpr RemoteAddr kFirst{0x1000};
constexpr RemoteAddr kSecond{0x2000};
constexpr TaskRows::Owner kOwner{.pid = 7, .tid = 8};

struct Written {
    Tick tick(std::uint64_t now_ns) {
        return {.now_ns = now_ns,
                .from_ns = now_ns,
                .until_ns = now_ns,
                .previous_ns = now_ns,
                .most_weight_ns = kAnyWeight,
                .batch = batch,
                .stats = stats};
    }
    /// One sample of each of these tasks, with a stack of that number.
    void round(std::uint64_t now_ns, const std::vector<std::pair<RemoteAddr, unsigned>>& tasks) {
        rows.begin();
        for (const auto& [task, stack] : tasks) rows.add(task, kOwner, {stack, 0});
        rows.end();
        rows.write(tick(now_ns), kMs);
    }

    FakeRuntime fake{pystack::testing::layout_of(12)};
    FakeTarget target{fake};
    ThreadIdentities identities{target, std::make_shared<WorkLimits>()};
    model::Batch batch;
    model::SamplerStats stats;
    BatchWriter writer;
    TaskRows rows{identities, writer};
};

}  // namespace

TEST_CASE("each task has a row, which another one takes when it has ended") {
    Written written;
    written.round(kMs, {{kFirst, 1}, {kSecond, 2}});
    written.round(2 * kMs, {{kSecond, 2}});
    const RemoteAddr third{0x3000};
    written.round(3 * kMs, {{kSecond, 2}, {third, 3}});
    CHECK(written.batch.thread == std::vector<std::uint32_t>{0, 1, 0});
    CHECK(written.batch.stack == std::vector<model::StackId>{1, 2, 3});
    CHECK(written.batch.count == std::vector<std::uint32_t>{1, 3, 1});
    CHECK(written.batch.weight_ns == std::vector<std::uint64_t>{kMs, 3 * kMs, kMs});
    CHECK(written.stats.task_samples == 5);
    CHECK(written.stats.attempted == 0);

    const auto threads = written.identities.consume_changed();
    REQUIRE(threads.size() == 2);
    CHECK(threads[1].second ==
          model::SampledThread{.pid = 7, .tid = 8, .name = "tasks 2", .is_of_tasks = true});
}

TEST_CASE("a task that moved keeps its row, and the loss is counted") {
    Written written;
    written.round(kMs, {{kFirst, 1}});
    written.rows.begin();
    written.rows.lose(kFirst);
    written.rows.lose(kSecond);
    written.rows.end();
    written.rows.write(written.tick(2 * kMs), kMs);
    CHECK(written.batch.time_ns == std::vector<std::uint64_t>{kMs});
    // No task has moved since, so nothing more is known of them.
    written.rows.write(written.tick(3 * kMs), kMs);
    CHECK(written.stats.task_samples == 1);
    CHECK(written.stats.tasks_unproved == 4);
    written.round(4 * kMs, {{kFirst, 1}});
    CHECK(written.batch.thread == std::vector<std::uint32_t>{0, 0});
    CHECK(written.batch.time_ns == std::vector<std::uint64_t>{kMs, 4 * kMs});
}

TEST_CASE("samples are repeated for tasks at rest") {
    Written written;
    written.round(kMs, {{kFirst, 1}, {kSecond, 2}});
    written.rows.write(written.tick(3 * kMs), 2 * kMs);
    CHECK(written.batch.weight_ns == std::vector<std::uint64_t>{3 * kMs, 3 * kMs});
    CHECK(written.batch.count == std::vector<std::uint32_t>{2, 2});
    CHECK(written.stats.task_samples == 4);
}

TEST_CASE("so many tasks are followed, and the others are counted") {
    Written written;
    std::vector<std::pair<RemoteAddr, unsigned>> tasks;
    for (std::uint64_t i = 0; i < TaskRows::kMost + 3; ++i) tasks.emplace_back(0x1000 + 16 * i, 1);
    written.round(kMs, tasks);
    CHECK(written.stats.task_samples == TaskRows::kMost);
    CHECK(written.stats.tasks_left_out == 3);
    written.rows.write(written.tick(2 * kMs), kMs);
    CHECK(written.stats.task_samples == 2 * TaskRows::kMost);
    CHECK(written.stats.tasks_left_out == 6);
}

TEST_CASE("after the threads are numbered anew, tasks have new rows") {
    Written written;
    written.round(kMs, {{kFirst, 1}});
    written.identities.renumber({}, kMs);
    written.rows.clear();
    written.writer.begin_tables();
    written.batch = {};
    written.round(2 * kMs, {{kFirst, 1}});
    CHECK(written.batch.thread == std::vector<std::uint32_t>{0});
    CHECK(written.identities.consume_changed().size() == 1);
}
