#include "sampling/thread_table.h"

#include <doctest/doctest.h>

#include <memory>
#include <vector>

#include "support/fake_program.h"

using namespace pystack;
using namespace pystack::sampling;
using pystack::testing::FakeProgram;
using pystack::testing::FakeRuntime;
using pystack::testing::FakeTarget;
using pystack::testing::for_each_version;

namespace {

struct Table {
    explicit Table(FakeRuntime& of, std::uint64_t bytes = std::uint64_t{1} << 20)
        : fake(of),
          program(fake),
          target(fake),
          stacks(fake.memory(), fake.layout, 1000),
          interpreters(fake.memory(), fake.runtime, stacks.format()),
          threads(target, std::make_shared<WorkLimits>(bytes)) {}

    void update(std::uint64_t now_ns) {
        interpreters.read();
        threads.update(interpreters, {.now_ns = now_ns,
                                      .from_ns = now_ns - 10,
                                      .until_ns = now_ns,
                                      .previous_ns = now_ns - 10,
                                      .most_weight_ns = kAnyWeight,
                                      .batch = batch,
                                      .stats = stats});
    }

    FakeRuntime& fake;
    FakeProgram program;
    FakeTarget target;
    cpython::StackReader stacks;
    cpython::CachedInterpreters interpreters;
    ThreadTable threads;
    model::Batch batch;
    model::SamplerStats stats;
};

}  // namespace

TEST_CASE("threads keep what is known of them while others come and go") {
    for_each_version<FakeRuntime>([](FakeRuntime& fake) {
        Table table(fake);
        const RemoteAddr main = table.program.add_thread(1, {"main"});
        table.update(100);
        REQUIRE(table.threads.size() == 1);
        TrackedThread* const first = &table.threads[0];
        CHECK(first->last_ns == 90);
        CHECK(table.threads.find(main) == first);
        const std::uint64_t changes = table.threads.changes();
        table.update(200);
        CHECK(table.threads.changes() == changes);

        const RemoteAddr worker = table.program.add_thread(2, {"work"});
        table.update(300);
        REQUIRE(table.threads.size() == 2);
        CHECK(table.threads.changes() == changes + 1);
        // In the order of the interpreters' lists.
        for (std::size_t i = 0; i < 2; ++i) {
            const RemoteAddr state = table.interpreters.threads()[i].address;
            CHECK(table.threads.find(state) == &table.threads[i]);
        }
        CHECK(table.threads.find(main) == first);
        CHECK(first->last_ns == 90);
        REQUIRE(table.threads.find(worker) != nullptr);
        CHECK(table.threads.find(worker)->last_ns == 290);
        CHECK(table.threads.find(worker)->index != first->index);
    });
}

TEST_CASE("another program has other threads, even at the same addresses") {
    for_each_version<FakeRuntime>([](FakeRuntime& fake) {
        Table table(fake);
        table.program.add_thread(1, {"main"});
        table.update(100);
        const std::uint32_t before = table.threads[0].index;
        const std::uint64_t changes = table.threads.changes();
        table.threads.clear();
        CHECK(table.threads.size() == 0);
        CHECK(table.threads.changes() > changes);
        table.update(200);
        REQUIRE(table.threads.size() == 1);
        CHECK(table.threads[0].index != before);
    });
}

TEST_CASE("threads beyond the limit are left out, all with one identity") {
    for_each_version<FakeRuntime>([](FakeRuntime& fake) {
        Table table(fake, 1024);  // For one.
        for (std::uint64_t pthread = 1; pthread <= 3; ++pthread)
            table.program.add_thread(pthread, {"f"});
        table.update(100);
        REQUIRE(table.threads.size() == 3);
        int left_out = 0;
        for (const TrackedThread* thread : table.threads) left_out += thread->is_left_out ? 1 : 0;
        CHECK(left_out == 2);
    });
}
