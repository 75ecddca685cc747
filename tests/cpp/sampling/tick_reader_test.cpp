#include "sampling/tick_reader.h"

#include <doctest/doctest.h>

#include <vector>

#include "support/fake_program.h"

using namespace pystack;
using namespace pystack::sampling;
using pystack::testing::FakeProgram;
using pystack::testing::FakeRuntime;
using pystack::testing::FakeTarget;
using pystack::testing::for_each_version;
using Asked = TrackedThread::Asked;

namespace {

struct Ticked {
    explicit Ticked(FakeRuntime& of)
        : fake(of),
          program(fake),
          target(fake),
          readers(target, {}),
          threads(target, readers.table_limits()),
          reader(readers, threads) {
        fake.make_gil(program.interpreter);
        readers.use(fake.runtime);
    }

    void read() {
        reader.read({.now_ns = ++now,
                     .from_ns = now,
                     .until_ns = now,
                     .previous_ns = now,
                     .most_weight_ns = kAnyWeight,
                     .batch = batch,
                     .stats = stats});
    }

    FakeRuntime& fake;
    FakeProgram program;
    FakeTarget target;
    ProgramReaders readers;
    ThreadTable threads;
    TickReader reader;
    std::uint64_t now = 0;
    model::Batch batch;
    model::SamplerStats stats;
};

}  // namespace

TEST_CASE("a tick finds the threads and reads the state of each in one call") {
    for_each_version<FakeRuntime>([](FakeRuntime& fake) {
        Ticked ticked(fake);
        ticked.program.add_thread(1, {"main"});
        ticked.program.add_thread(2, {"work"});
        ticked.read();
        CHECK(ticked.threads.size() == 2);
        CHECK(ticked.reader.batch().holds);
        const std::size_t calls = fake.memory().calls();
        ticked.read();
        CHECK(ticked.reader.batch().holds);
        CHECK(fake.memory().calls() == calls + 1);
        for (const TrackedThread* thread : ticked.threads) CHECK(thread->asked == Asked::kState);
    });
}

TEST_CASE("a thread that came since is found in the same tick") {
    for_each_version<FakeRuntime>([](FakeRuntime& fake) {
        Ticked ticked(fake);
        ticked.program.add_thread(1, {"main"});
        ticked.read();
        const RemoteAddr worker = ticked.program.add_thread(2, {"work"});
        ticked.read();
        CHECK(ticked.reader.batch().holds);
        CHECK(ticked.threads.find(worker) != nullptr);
    });
}

TEST_CASE("threads that did not run are not read, and the link behind an awake one is") {
    for_each_version<FakeRuntime>([](FakeRuntime& fake) {
        Ticked ticked(fake);
        for (std::uint64_t pthread = 1; pthread <= 3; ++pthread)
            ticked.program.add_thread(pthread, {"f"});
        ticked.read();
        ticked.read();
        const auto& flag_field = fake.layout.thread_state.gil_requested;
        for (const std::size_t i : {0U, 2U}) {
            ticked.threads[i].note_sample(true);
            ticked.threads[i].note_sample(true);
            ticked.threads[i].set_motion(TrackedThread::Motion::kIdle);
        }
        ticked.read();
        CHECK(ticked.reader.batch().holds);
        CHECK_FALSE(ticked.reader.thread_flag(0, flag_field));
        CHECK(ticked.reader.thread_flag(1, flag_field).has_value() == flag_field.has_value());
        CHECK(ticked.reader.thread_flag(2, flag_field).has_value() == flag_field.has_value());
    });
}
