#include "sampling/program_readers.h"

#include <doctest/doctest.h>

#include <memory>

#include "support/fake_program.h"

using namespace pystack;
using namespace pystack::sampling;
using pystack::testing::FakeProgram;
using pystack::testing::FakeRuntime;
using pystack::testing::FakeTarget;
using pystack::testing::for_each_version;

TEST_CASE("tables stay when the target executes another program, and all else is new") {
    for_each_version<FakeRuntime>([](FakeRuntime& fake) {
        FakeProgram program(fake);
        program.add_thread(1, {"main"});
        const FakeTarget target(fake);
        ProgramReaders readers(target, {});
        readers.use(fake.runtime);
        readers.interpreters().read();
        CHECK(readers.interpreters().threads().size() == 1);
        const model::FrameId frame = readers.interner().marker_frame("kept");
        readers.use(fake.runtime);
        CHECK(readers.interpreters().threads().empty());
        CHECK(readers.interner().marker_frame("kept") == frame);
        CHECK(readers.tasks() == nullptr);
    });
}

TEST_CASE("half of the memory limit is for the tables") {
    FakeRuntime fake(pystack::testing::layout_of(12));
    const FakeTarget target(fake);
    SamplerOptions options;
    options.limits = std::make_shared<WorkLimits>(1 << 20);
    const ProgramReaders readers(target, options);
    CHECK(readers.table_limits()->max_bytes() == 1 << 19);
    CHECK_FALSE(options.limits->charge_bytes((1 << 19) + 1));
    CHECK(options.limits->charge_bytes(1 << 19));
}

TEST_CASE("code objects are forgotten when they take an eighth of the limit, once a second") {
    for_each_version<FakeRuntime>([](FakeRuntime& fake) {
        FakeProgram program(fake);
        program.add_thread(1, {"main"});
        const FakeTarget target(fake);
        SamplerOptions options;
        options.limits = std::make_shared<WorkLimits>(1 << 20);
        ProgramReaders readers(target, options);
        readers.use(fake.runtime);
        CHECK_FALSE(readers.renew_codes(1));
        const auto fill = [&] {
            for (int i = 0; i < 2000 && readers.codes().bytes() < 1 << 17; ++i) {
                const auto frame = program.codes.frame(program.code("f" + std::to_string(i)));
                readers.codes().load(std::vector{frame});
            }
            REQUIRE(readers.codes().bytes() >= 1 << 17);
        };
        fill();
        CHECK(readers.renew_codes(2));
        CHECK(readers.codes().bytes() < 1 << 17);
        fill();
        CHECK_FALSE(readers.renew_codes(3));
        CHECK(readers.renew_codes(2'000'000'000));
    });
}
