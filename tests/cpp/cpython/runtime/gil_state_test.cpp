#include "cpython/runtime/gil_state.h"

#include <doctest/doctest.h>
#include <linux/futex.h>

#include "support/fake_runtime.h"

using namespace pystack;
using namespace pystack::cpython;
using model::GilState;
using pystack::testing::FakeRuntime;
using pystack::testing::for_each_version;

namespace {

constexpr RemoteAddr kHolder{0x7000};
constexpr RemoteAddr kOther{0x8000};

arch::Syscall futex(RemoteAddr address, std::uint64_t operation = FUTEX_WAIT_PRIVATE) {
    return {arch::kFutexSyscall, address.value, operation};
}

}  // namespace

TEST_CASE("who holds the GIL, and who waits for it") {
    for_each_version<FakeRuntime>([](FakeRuntime& fake) {
        const RemoteAddr interpreter = fake.add_interpreter(0);
        const RemoteAddr address = fake.make_gil(interpreter);
        if (!address) return;
        fake.put_gil(address, 1, kHolder);
        const auto gil = read_gil(fake.memory(), fake.runtime, interpreter);
        REQUIRE(gil);
        CHECK(gil->locked);
        CHECK(gil->holder == kHolder);
        CHECK(gil_state(*gil, kHolder, {}) == GilState::kHolds);
        CHECK(gil_state(*gil, kOther, {}) == GilState::kNone);

        const auto& fields = fake.layout.gil;
        REQUIRE(fields.cond);
        CHECK(gil_state(*gil, kOther, futex(address + *fields.cond)) == GilState::kWaits);
        CHECK(gil_state(*gil, kOther, futex(address + *fields.mutex)) == GilState::kWaits);
        CHECK(gil_state(*gil, kOther, futex(address + *fields.switch_cond)) == GilState::kDropping);
        CHECK(gil_state(*gil, kOther, futex(address + fields.struct_size)) == GilState::kNone);
        CHECK(gil_state(*gil, kOther, futex(address + *fields.cond - 1)) == GilState::kNone);
        // Who releases the GIL wakes another thread at the same address, and waits for nothing.
        CHECK(gil_state(*gil, kOther, futex(address + *fields.cond, FUTEX_WAKE_PRIVATE)) ==
              GilState::kNone);
        // Who waits lets go of the mutex, too, and takes it again.
        CHECK(gil_state(*gil, kOther, futex(address + *fields.mutex, FUTEX_WAKE_PRIVATE)) ==
              GilState::kWaits);
        // glibc waits with a clock.
        CHECK(gil_state(*gil, kOther,
                        futex(address + *fields.cond,
                              FUTEX_WAIT_BITSET_PRIVATE | FUTEX_CLOCK_REALTIME)) ==
              GilState::kWaits);
        // The kernel's word for a futex call with a timeout that was interrupted.
        CHECK(gil_state(*gil, kOther,
                        arch::Syscall{arch::kRestartSyscall, (address + *fields.cond).value}) ==
              GilState::kWaits);
        CHECK(gil_state(*gil, kOther, arch::Syscall{0, (address + *fields.cond).value}) ==
              GilState::kNone);
    });
}

TEST_CASE("with musl, who waits for the GIL does so on its own stack") {
    for_each_version<FakeRuntime>([](FakeRuntime& fake) {
        const RemoteAddr interpreter = fake.add_interpreter(0);
        const RemoteAddr address = fake.make_gil(interpreter);
        if (!address || !fake.layout.gil.cond) return;
        fake.put_gil(address, 1, kHolder);
        // prev, next, state, barrier, notify
        const RemoteAddr newer = fake.allocate(32);
        const RemoteAddr older = fake.allocate(32);
        const RemoteAddr dropper = fake.allocate(32);
        constexpr std::uint64_t kBarrier = 20;
        for (const RemoteAddr waiter : {newer, older, dropper})
            fake.memory().put(waiter + kBarrier, std::int32_t{2});
        fake.memory().put(newer + 8, older);
        fake.memory().put(older, newer);
        const auto put_ends = [&](RemoteAddr condition, RemoteAddr newest, RemoteAddr oldest) {
            fake.memory().put(condition + 8, newest);
            fake.memory().put(condition + 40, oldest);
        };
        put_ends(address + *fake.layout.gil.cond, newer, older);
        put_ends(address + *fake.layout.gil.switch_cond, dropper, dropper);

        auto gil = read_gil(fake.memory(), fake.runtime, interpreter);
        REQUIRE(gil);
        CHECK(gil->are_futexes_known);
        CHECK(gil_state(*gil, kOther, futex(newer + kBarrier)) == GilState::kWaits);
        CHECK(gil_state(*gil, kOther, futex(older + kBarrier)) == GilState::kWaits);
        CHECK(gil_state(*gil, kOther, futex(dropper + kBarrier)) == GilState::kDropping);
        CHECK(gil_state(*gil, kHolder, futex(newer + kBarrier)) == GilState::kHolds);
        CHECK(gil_state(*gil, kOther, futex(newer)) == GilState::kNone);
        CHECK(gil_state(*gil, kOther, futex(newer + kBarrier, FUTEX_WAKE_PRIVATE)) ==
              GilState::kNone);
        CHECK(gil_state(*gil, kOther,
                        arch::Syscall{arch::kRestartSyscall, (older + kBarrier).value}) ==
              GilState::kWaits);
        CHECK(gil->is_at(older + kBarrier));
        CHECK(gil->is_at(dropper + kBarrier));
        CHECK_FALSE(gil->is_at(older));

        // A list that is none is not believed, the other one is.
        fake.memory().put(older + 8, newer);
        gil = read_gil(fake.memory(), fake.runtime, interpreter);
        REQUIRE(gil);
        CHECK_FALSE(gil->are_futexes_known);
        CHECK(gil_state(*gil, kOther, futex(newer + kBarrier)) == GilState::kNone);
        CHECK(gil_state(*gil, kOther, futex(dropper + kBarrier)) == GilState::kDropping);
    });
}

TEST_CASE("a GIL that nobody holds, or that is not made yet") {
    for_each_version<FakeRuntime>([](FakeRuntime& fake) {
        const RemoteAddr interpreter = fake.add_interpreter(0);
        const RemoteAddr address = fake.make_gil(interpreter);
        if (!address) return;
        for (const std::int32_t locked : {0, -1}) {
            fake.put_gil(address, locked, kHolder);
            const auto gil = read_gil(fake.memory(), fake.runtime, interpreter);
            REQUIRE(gil);
            CHECK_FALSE(gil->locked);
            // Its last holder does not hold it.
            CHECK(gil_state(*gil, kHolder, {}) == GilState::kNone);
        }
    });
}

TEST_CASE("a GIL that is switched off concerns nobody") {
    for_each_version<FakeRuntime>([](FakeRuntime& fake) {
        if (!fake.layout.gil.enabled) return;
        const RemoteAddr interpreter = fake.add_interpreter(0);
        const RemoteAddr address = fake.make_gil(interpreter);
        fake.put_gil(address, 1, kHolder);
        fake.memory().put(address + *fake.layout.gil.enabled, std::int32_t{0});
        const auto gil = read_gil(fake.memory(), fake.runtime, interpreter);
        REQUIRE(gil);
        CHECK_FALSE(gil->enabled);
        CHECK(gil_state(*gil, kHolder, {}) == GilState::kNone);
    });
}

TEST_CASE("subinterpreters may share the main one's GIL") {
    FakeRuntime fake(pystack::testing::layout_of(13));
    const RemoteAddr main = fake.add_interpreter(0);
    const RemoteAddr sub = fake.add_interpreter(1);
    const RemoteAddr address = fake.make_gil(main);
    fake.memory().put(sub + *fake.layout.interpreter_state.ceval_gil, address);
    fake.put_gil(address, 1, kHolder);
    const auto gil = read_gil(fake.memory(), fake.runtime, sub);
    REQUIRE(gil);
    CHECK(gil->holder == kHolder);
}

TEST_CASE("a GIL that cannot be read is not known") {
    for_each_version<FakeRuntime>([](FakeRuntime& fake) {
        const RemoteAddr interpreter = fake.add_interpreter(0);
        if (fake.layout.gil_place == GilPlace::kInterpreter) {
            const RemoteAddr place = interpreter + *fake.layout.interpreter_state.ceval_gil;
            CHECK_FALSE(read_gil(fake.memory(), fake.runtime, interpreter));
            for (const std::uint64_t wild :
                 {std::uint64_t{0x10}, ~std::uint64_t{0}, ~std::uint64_t{7}}) {
                fake.memory().put(place, wild);
                CHECK_FALSE(read_gil(fake.memory(), fake.runtime, interpreter));
            }
        }
        fake.runtime.address = {};
        if (fake.layout.gil_place == GilPlace::kRuntime) {
            CHECK_FALSE(read_gil(fake.memory(), fake.runtime, interpreter));
        }
    });
}

TEST_CASE("3.6 has variables, of which a stripped file shows one") {
    FakeRuntime fake(pystack::testing::layout_of(6));
    const RemoteAddr interpreter = fake.add_interpreter(0);
    CHECK_FALSE(read_gil(fake.memory(), fake.runtime, interpreter));

    GilSymbols& symbols = fake.runtime.gil_symbols;
    const RemoteAddr variables = fake.allocate(64);
    symbols.current_thread = variables;
    auto gil = read_gil(fake.memory(), fake.runtime, interpreter);
    REQUIRE(gil);
    CHECK_FALSE(gil->locked);
    fake.memory().put(variables, kHolder);
    gil = read_gil(fake.memory(), fake.runtime, interpreter);
    REQUIRE(gil);
    CHECK(gil_state(*gil, kHolder, {}) == GilState::kHolds);

    symbols.last_holder = variables + 8;
    symbols.locked = variables + 16;
    symbols.wait = {variables + 24, variables + 32};
    fake.memory().put(variables + 8, kOther);
    fake.memory().put(variables + 16, std::int32_t{1});
    gil = read_gil(fake.memory(), fake.runtime, interpreter);
    REQUIRE(gil);
    CHECK(gil_state(*gil, kOther, {}) == GilState::kHolds);
    CHECK(gil_state(*gil, kHolder, futex(variables + 24)) == GilState::kWaits);
    CHECK(gil_state(*gil, kHolder, futex(variables + 32)) == GilState::kNone);

    // One thread needs no GIL, and runs as if it had it.
    fake.memory().put(variables + 16, std::int32_t{-1});
    gil = read_gil(fake.memory(), fake.runtime, interpreter);
    REQUIRE(gil);
    CHECK(gil_state(*gil, kHolder, {}) == GilState::kHolds);
    CHECK(gil_state(*gil, kOther, {}) == GilState::kNone);

    symbols.locked = RemoteAddr{0x10};
    CHECK_FALSE(read_gil(fake.memory(), fake.runtime, interpreter));
}
