#include "sampling/batch_writer.h"

#include <doctest/doctest.h>

#include <memory>
#include <string>
#include <vector>

#include "support/fake_target.h"

using namespace pystack;
using namespace pystack::sampling;
using pystack::testing::FakeRuntime;
using pystack::testing::FakeTarget;
using pystack::testing::for_each_version;

namespace {

constexpr std::uint64_t kMs = 1'000'000;

struct Written {
    Tick tick(std::uint64_t now_ns, std::uint64_t most_weight_ns = kAnyWeight) {
        return {.now_ns = now_ns,
                .from_ns = now_ns,
                .until_ns = now_ns,
                .previous_ns = now_ns,
                .most_weight_ns = most_weight_ns,
                .batch = batch,
                .stats = stats};
    }

    model::Batch batch;
    model::SamplerStats stats;
    BatchWriter writer;
    TrackedThread thread;
};

}  // namespace

TEST_CASE("a sample weighs the time since the last attempt, and equal ones are one row") {
    Written written;
    written.thread.last_ns = kMs;
    written.writer.add(written.tick(3 * kMs), written.thread, written.thread.stack.id(),
                       model::kOnCpu);
    written.writer.add(written.tick(4 * kMs), written.thread, written.thread.stack.id(),
                       model::kOnCpu);
    written.writer.add(written.tick(5 * kMs), written.thread, written.thread.stack.id(),
                       model::kGc);
    CHECK(written.batch.weight_ns == std::vector<std::uint64_t>{3 * kMs, kMs});
    CHECK(written.batch.count == std::vector<std::uint32_t>{2, 1});
    CHECK(written.batch.time_ns == std::vector<std::uint64_t>{4 * kMs, 5 * kMs});
    CHECK(written.stats.attempted == 3);
    CHECK(written.stats.taken == 3);
}

TEST_CASE("samples that wait for something else are other rows") {
    Written written;
    for (const model::WaitId wait : {0U, 1U, 1U, 2U})
        written.writer.add(written.tick(kMs), written.thread, written.thread.stack.id(), 0, wait);
    CHECK(written.batch.wait == std::vector<model::WaitId>{0, 1, 2});
    CHECK(written.batch.count == std::vector<std::uint32_t>{1, 2, 1});
    written.batch.drop_samples();
    CHECK(written.batch.wait.empty());
}

TEST_CASE("samples with a guessed order of interpreters are counted") {
    Written written;
    for (const bool is_guessed : {true, false, true}) {
        written.thread.is_order_guessed = is_guessed;
        written.writer.add(written.tick(kMs), written.thread, written.thread.stack.id(), 0);
    }
    CHECK(written.stats.taken == 3);
    CHECK(written.stats.guessed_order == 2);
}

TEST_CASE("a sample speaks until its interval ends") {
    Written written;
    written.thread.last_ns = kMs;
    for (const auto& [now, until] : {std::pair(kMs + 1, 2 * kMs), {3 * kMs - 1, 3 * kMs}}) {
        Tick tick = written.tick(now);
        tick.until_ns = until;
        written.writer.add(tick, written.thread, written.thread.stack.id(), model::kOnCpu);
    }
    CHECK(written.batch.weight_ns == std::vector<std::uint64_t>{2 * kMs});
    CHECK(written.batch.time_ns == std::vector<std::uint64_t>{3 * kMs});
    CHECK(written.thread.last_ns == 3 * kMs);
}

TEST_CASE("a lost sample leaves a gap") {
    Written written;
    written.thread.last_ns = kMs;
    written.writer.add(written.tick(2 * kMs), written.thread, written.thread.stack.id(), 0);
    written.writer.lose(written.tick(7 * kMs), written.thread, written.stats.torn);
    written.writer.add(written.tick(8 * kMs), written.thread, written.thread.stack.id(), 0);
    CHECK(written.batch.weight_ns == std::vector<std::uint64_t>{kMs, kMs});
    CHECK(written.stats.attempted == 3);
    CHECK(written.stats.taken == 2);
    CHECK(written.stats.torn == 1);
    CHECK(written.thread.cpu.sampled_ns == 2 * kMs);
    CHECK(written.thread.cpu.gaps_ns == 5 * kMs);
}

TEST_CASE("a sample does not stand for a time without ticks") {
    Written written;
    written.thread.last_ns = kMs;
    written.writer.add(written.tick(2 * kMs, 4 * kMs), written.thread, written.thread.stack.id(),
                       model::kOnCpu);
    written.writer.add(written.tick(100 * kMs, 4 * kMs), written.thread, written.thread.stack.id(),
                       model::kOnCpu);
    // Two rows, because there is a gap between them.
    CHECK(written.batch.weight_ns == std::vector<std::uint64_t>{kMs, 4 * kMs});
    CHECK(written.batch.time_ns == std::vector<std::uint64_t>{2 * kMs, 100 * kMs});
    CHECK(written.thread.cpu.sampled_ns == 5 * kMs);
    CHECK(written.thread.cpu.running_ns == 5 * kMs);
    CHECK(written.thread.cpu.gaps_ns == 94 * kMs);
}

TEST_CASE("a thread without an identity has no samples, and they are counted as failed") {
    Written written;
    written.thread.is_left_out = true;
    written.writer.add(written.tick(kMs), written.thread, written.thread.stack.id(), 0);
    written.writer.lose(written.tick(2 * kMs), written.thread, written.stats.torn);
    CHECK(written.batch.count.empty());
    CHECK(written.stats.attempted == 2);
    CHECK(written.stats.failed == 2);
    CHECK(written.stats.torn == 0);
}

TEST_CASE("what was handed over is not handed over again, and no row of it grows") {
    for_each_version<FakeRuntime>([](FakeRuntime& fake) {
        const FakeTarget target(fake);
        cpython::CodeReader codes(fake.memory(), fake.layout);
        FrameInterner tables(codes);
        ThreadIdentities identities(target, std::make_shared<WorkLimits>());
        model::WaitTable waits;
        Written written;
        written.thread.index = identities.add(kMs);
        const model::FrameId frame = tables.marker_frame("one");
        written.thread.stack.entries = {{.stack = tables.push(0, frame)}};
        written.writer.add(written.tick(2 * kMs), written.thread, written.thread.stack.id(), 0);
        written.writer.add_new_rows(written.batch, tables, waits, identities);
        CHECK(written.batch.strings == std::vector<std::string>{"", "one"});
        CHECK(written.batch.frames.size() == 1);
        CHECK(written.batch.stacks.size() == 2);
        CHECK(written.batch.waits.size() == 1);
        CHECK(written.batch.threads.size() == 1);

        written.batch = {};
        tables.marker_frame("two");
        waits.add({.kind = model::WaitKind::kTimer});
        written.writer.add(written.tick(3 * kMs), written.thread, written.thread.stack.id(), 0);
        written.writer.add_new_rows(written.batch, tables, waits, identities);
        CHECK(written.batch.count == std::vector<std::uint32_t>{1});
        CHECK(written.batch.strings == std::vector<std::string>{"two"});
        CHECK(written.batch.frames.size() == 1);
        CHECK(written.batch.stacks.empty());
        CHECK(written.batch.waits ==
              std::vector<model::WaitRow>{{.kind = model::WaitKind::kTimer}});
        CHECK(written.batch.threads.empty());
    });
}
