#include "sampling/cpu_shares.h"

#include <doctest/doctest.h>

#include <memory>
#include <vector>

#include "sampling/batch_writer.h"
#include "support/fake_program.h"

using namespace pystack;
using namespace pystack::sampling;
using pystack::testing::FakeProgram;
using pystack::testing::FakeRuntime;
using pystack::testing::FakeTarget;
using pystack::testing::layout_of;

namespace {

constexpr std::uint64_t kMs = 1'000'000;
using Column = std::vector<std::uint64_t>;

/// A recording of one thread, and what the kernel says of it.
struct Shares {
    Shares()
        : fake(layout_of(13)),
          program(fake),
          target(fake),
          stacks(fake.memory(), fake.layout, 1000),
          interpreters(fake.memory(), fake.runtime, stacks.format()),
          threads(target, std::make_shared<WorkLimits>(std::uint64_t{1} << 20)) {
        program.add_thread(1, {"f"});
        interpreters.read();
        threads.update(interpreters, tick(0));
        REQUIRE(threads.size() == 1);
        threads[0].cpu.is_followed = threads[0].cpu.is_known = true;
    }

    Tick tick(std::uint64_t now_ns, std::uint64_t most_weight_ns = kAnyWeight) {
        return {.now_ns = now_ns,
                .from_ns = now_ns,
                .until_ns = now_ns,
                .previous_ns = now_ns,
                .most_weight_ns = most_weight_ns,
                .batch = batch,
                .stats = stats};
    }
    void sample(std::uint64_t now_ns, std::uint8_t state) {
        writer.add(tick(now_ns), threads[0], 0, state);
    }
    /// The batch of all samples since the last call; the thread has run and waited so much since.
    model::Batch settle(std::uint64_t run_ns, std::uint64_t wait_ns) {
        if (times) {
            times->run_ns += run_ns;
            times->wait_ns += wait_ns;
        }
        shares.settle(threads, batch);
        threads[0].row = {};  // The next batch has rows of its own.
        return std::exchange(batch, {});
    }

    std::optional<process::RunTimes> times = process::RunTimes{};
    CpuShares shares{[this](std::int32_t) { return times; }};
    FakeRuntime fake;
    FakeProgram program;
    FakeTarget target;
    cpython::StackReader stacks;
    cpython::CachedInterpreters interpreters;
    ThreadTable threads;
    BatchWriter writer;
    model::Batch batch;
    model::SamplerStats stats;
};

}  // namespace

TEST_CASE("the kernel's times go to the samples that found the thread running, by weight") {
    Shares shares;
    shares.sample(3 * kMs, model::kOnCpu);
    shares.sample(4 * kMs, 0);
    shares.sample(5 * kMs, model::kOnCpu | model::kHoldsGil);
    const model::Batch batch = shares.settle(2 * kMs + 1, kMs);
    // 3 : 1, and nothing is lost of it.
    CHECK(batch.cpu_ns == Column{1'500'000, 0, 500'001});
    CHECK(batch.runnable_ns == Column{750'000, 0, 250'000});
    CHECK(batch.late_cpu.empty());
}

TEST_CASE("who ran only between samples ran, too") {
    Shares shares;
    shares.sample(3 * kMs, 0);
    const model::Batch batch = shares.settle(5, 7);
    CHECK(batch.cpu_ns == Column{0});
    REQUIRE(batch.late_cpu.size() == 1);
    CHECK(batch.late_cpu[0].thread == shares.threads[0].index);
    CHECK(batch.late_cpu[0].cpu_ns == 5);
    CHECK(batch.late_cpu[0].runnable_ns == 7);
    CHECK(shares.settle(0, 0).late_cpu.empty());
}

TEST_CASE("what ran in a gap is not the time of samples") {
    Shares shares;
    shares.sample(10 * kMs, model::kOnCpu);
    shares.writer.add(shares.tick(100 * kMs, 10 * kMs), shares.threads[0], 0, model::kOnCpu);
    // 20 of 100 ms are sampled.
    CHECK(shares.settle(50 * kMs, 0).cpu_ns == Column{5 * kMs, 5 * kMs});
    shares.sample(110 * kMs, model::kOnCpu);
    CHECK(shares.settle(10 * kMs, 0).cpu_ns == Column{10 * kMs});
}

TEST_CASE("a thread that runs in two interpreters runs once") {
    Shares shares;
    shares.program.add_thread(2, {"g"});
    shares.interpreters.read();
    shares.threads.update(shares.interpreters, shares.tick(0));
    REQUIRE(shares.threads.size() == 2);
    REQUIRE(shares.threads.tid(0) == shares.threads.tid(1));  // Not known: as if it were the same.
    for (TrackedThread* thread : shares.threads)
        thread->cpu.is_followed = thread->cpu.is_known = true;
    // The first one called the second, and stands still.
    for (int i = 0; i < 3; ++i) shares.threads[0].note_sample(true);
    for (TrackedThread* thread : shares.threads) {
        thread->last_ns = 0;
        shares.writer.add(shares.tick(10 * kMs), *thread, 0, model::kOnCpu);
    }
    const model::Batch batch = shares.settle(8 * kMs, kMs);
    CHECK(batch.cpu_ns == Column{0, 8 * kMs});
    CHECK(batch.runnable_ns == Column{0, kMs});
}

TEST_CASE("of a thread that has ended nothing better is known than what samples saw") {
    Shares shares;
    shares.times.reset();
    shares.sample(2 * kMs, model::kOnCpu);
    shares.sample(3 * kMs, 0);
    const model::Batch batch = shares.settle(0, 0);
    CHECK(batch.cpu_ns == Column{2 * kMs, 0});
    CHECK(batch.runnable_ns == Column{0, 0});
}
