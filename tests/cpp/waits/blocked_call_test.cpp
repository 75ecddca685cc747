#include "waits/blocked_call.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>

#include <array>

#include "support/fake_memory.h"

using namespace pystack;
using namespace pystack::waits;
using pystack::testing::FakeMemory;

namespace {

using Words = std::array<std::int64_t, 2>;

RemoteAddr time_in(FakeMemory& memory, std::int64_t seconds, std::int64_t parts) {
    const RemoteAddr address = memory.allocate(sizeof(Words));
    memory.put(address, Words{seconds, parts});
    return address;
}

}  // namespace

TEST_CASE("futexes that are waited for") {
    FakeMemory memory;
    const auto at = [&](std::uint64_t operation, RemoteAddr timeout = {}) {
        return describe_call({SYS_futex, 0x1000, operation, 2, timeout.value}, memory);
    };
    const auto plain = at(FUTEX_WAIT_BITSET | FUTEX_PRIVATE_FLAG);
    REQUIRE(plain);
    CHECK(plain->kind == CallKind::kFutex);
    CHECK(plain->address == RemoteAddr{0x1000});
    CHECK_FALSE(plain->is_timed);
    CHECK_FALSE(at(FUTEX_WAKE_PRIVATE));
    CHECK_FALSE(at(FUTEX_CMP_REQUEUE));
    const RemoteAddr time = time_in(memory, 7, 5);
    const auto until = at(FUTEX_WAIT_BITSET | FUTEX_CLOCK_REALTIME, time);
    REQUIRE(until);
    CHECK(until->is_timed);
    CHECK(until->deadline_ns == 7'000'000'005);
    CHECK(until->clock == CLOCK_REALTIME);
    const auto lasting = at(FUTEX_WAIT_PRIVATE, time);
    REQUIRE(lasting);
    CHECK(lasting->timeout_ns == 7'000'000'005);
    CHECK_FALSE(lasting->deadline_ns);
    // What is no time is not told, but the wait has one.
    const auto odd = at(FUTEX_WAIT_PRIVATE, time_in(memory, -1, 5));
    REQUIRE(odd);
    CHECK(odd->is_timed);
    CHECK_FALSE(odd->timeout_ns);
    CHECK_FALSE(at(FUTEX_WAIT_PRIVATE, RemoteAddr{0x10})->timeout_ns);
}

TEST_CASE("the call that is restarted") {
    FakeMemory memory;
    const RemoteAddr code = memory.allocate(16);
    const std::uint8_t poll[] = {0xB8, 7, 0, 0, 0, 0x0F, 0x05};
    memory.write(code, std::as_bytes(std::span(poll)));
    CHECK(call_before(memory, code + 7) == SYS_poll);
    CHECK_FALSE(call_before(memory, code + 8));
    CHECK_FALSE(call_before(memory, code + 100));
    CHECK_FALSE(call_before(memory, {3}));
}

TEST_CASE("sleeps and sets of files") {
    FakeMemory memory;
    const RemoteAddr time = time_in(memory, 3, 500'000);
    const auto call = [&](std::int64_t number, std::uint64_t a = 0, std::uint64_t b = 0,
                          std::uint64_t c = 0, std::uint64_t d = 0, std::uint64_t e = 0) {
        const auto found = describe_call({number, a, b, c, d, e}, memory);
        REQUIRE(found);
        return *found;
    };
    const auto until = call(SYS_clock_nanosleep, CLOCK_MONOTONIC, TIMER_ABSTIME, time.value);
    CHECK(until.kind == CallKind::kSleep);
    CHECK(until.deadline_ns == 3'000'500'000);
    CHECK(call(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, time.value).timeout_ns == 3'000'500'000);
    CHECK(call(SYS_nanosleep, time.value).timeout_ns == 3'000'500'000);
    // How Python slept below 3.11: half a second is 500,000 of a timeval.
    const auto slept = call(SYS_select, 0, 0, 0, 0, time.value);
    CHECK(slept.kind == CallKind::kSleep);
    CHECK(slept.timeout_ns == 3'500'000'000);
    CHECK_FALSE(slept.count);

    const RemoteAddr set = memory.allocate(128);
    memory.put(set, std::uint64_t{1} << 5 | std::uint64_t{1} << 9 | std::uint64_t{1} << 40);
    const auto selected = call(SYS_select, 41, set.value, set.value, 0, 0);
    CHECK(selected.kind == CallKind::kPoll);
    CHECK(selected.count == 6);
    CHECK_FALSE(selected.is_timed);
    CHECK(call(SYS_select, 10, set.value, 0, 0, 0).count == 2);
    CHECK_FALSE(call(SYS_select, 0xFFFFFFFF, set.value, 0, 0, 0).count);

    CHECK(call(SYS_poll, set.value, 3, 0xFFFFFFFF).count == 3);
    CHECK_FALSE(call(SYS_poll, set.value, 3, 0xFFFFFFFF).is_timed);
    CHECK(call(SYS_poll, set.value, 3, 1500).timeout_ns == 1'500'000'000);
    const auto epoll = call(SYS_epoll_wait, 4, set.value, 10, 250);
    CHECK(epoll.fd == 4);
    CHECK(epoll.timeout_ns == 250'000'000);
    CHECK_FALSE(epoll.count);
}

TEST_CASE("files, locks and children") {
    FakeMemory memory;
    const auto call = [&](std::int64_t number, std::uint64_t a = 0, std::uint64_t b = 0) {
        return describe_call({number, a, b}, memory);
    };
    CHECK(call(SYS_read, 7)->fd == 7);
    CHECK(call(SYS_recvfrom, 7)->kind == CallKind::kDescriptor);
    CHECK(call(SYS_accept4, 0xFFFFFFFF00000003)->fd == 3);
    CHECK(call(SYS_flock, 7)->kind == CallKind::kFileLock);
    CHECK(call(SYS_fcntl, 7, F_SETLKW)->kind == CallKind::kFileLock);
    CHECK_FALSE(call(SYS_fcntl, 7, F_GETFL));
    CHECK(call(SYS_wait4, 99)->pid == 99);
    CHECK_FALSE(call(SYS_wait4, 0xFFFFFFFF)->pid);
    CHECK(call(SYS_waitid, 1, 99)->pid == 99);
    CHECK_FALSE(call(SYS_waitid, 0, 99)->pid);
    CHECK_FALSE(call(SYS_getpid));
    CHECK_FALSE(call(SYS_close, 7));
}

TEST_CASE("which call goes on after a stop, by the function of the kernel") {
    CHECK(restarted_call("do_sys_poll") == SYS_poll);
    CHECK(restarted_call("futex_wait_queue") == SYS_futex);
    CHECK(restarted_call("hrtimer_nanosleep") == SYS_nanosleep);
    CHECK_FALSE(restarted_call("do_select"));
    CHECK_FALSE(restarted_call(""));
}
