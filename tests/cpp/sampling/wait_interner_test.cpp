#include "sampling/wait_interner.h"

#include <doctest/doctest.h>

#include <memory>
#include <string>

#include "support/fake_target.h"

using namespace pystack;
using namespace pystack::sampling;
using model::WaitKind;
using pystack::testing::FakeRuntime;
using pystack::testing::for_each_version;

namespace {

struct Interned {
    explicit Interned(FakeRuntime& fake, std::uint64_t bytes = WorkLimits::kDefaultBytes)
        : limits(std::make_shared<WorkLimits>(bytes)),
          codes(fake.memory(), fake.layout),
          texts(codes, limits),
          waits(limits) {}

    model::WaitId lock(const std::string& name, std::uint32_t holder) {
        return waits.intern(texts, WaitKind::kLock, "_thread.lock", name, holder);
    }

    std::shared_ptr<WorkLimits> limits;
    cpython::CodeReader codes;
    FrameInterner texts;
    WaitInterner waits;
};

}  // namespace

TEST_CASE("equal reasons are one row") {
    for_each_version<FakeRuntime>([](FakeRuntime& fake) {
        Interned interned(fake);
        const model::WaitId first = interned.lock("Account.lock", 1);
        CHECK(first == 1);
        CHECK(interned.lock("Account.lock", 1) == first);
        CHECK(interned.lock("Account.lock", 2) != first);
        CHECK(interned.lock("other", 1) != first);
        const model::WaitRow& row = interned.waits.table().rows()[first];
        CHECK(row.kind == WaitKind::kLock);
        CHECK(interned.texts.strings().rows()[row.type] == "_thread.lock");
        CHECK(interned.texts.strings().rows()[row.name] == "Account.lock");
        CHECK(row.holder == 1);
    });
}

TEST_CASE("past the limit a row says the kind alone") {
    for_each_version<FakeRuntime>([](FakeRuntime& fake) {
        Interned interned(fake);
        for (std::size_t i = 1; i < WaitInterner::kMostNamed; ++i)
            REQUIRE(interned.lock(std::to_string(i), 0) == i);
        const model::WaitId more = interned.lock("more", 7);
        CHECK(more == WaitInterner::kMostNamed);
        CHECK(interned.waits.table().rows()[more] == model::WaitRow{.kind = WaitKind::kLock});
        CHECK(interned.lock("still more", 8) == more);
    });
}

TEST_CASE("without memory nothing is known") {
    for_each_version<FakeRuntime>([](FakeRuntime& fake) {
        Interned interned(fake, 0);
        CHECK(interned.lock("Account.lock", 1) == 0);
        CHECK(interned.waits.table().rows().size() == 1);
    });
}
