#include "waits/mutexes.h"

#include <doctest/doctest.h>
#include <linux/futex.h>
#include <sys/syscall.h>

#include <array>

#include "support/fake_memory.h"

using namespace pystack;
using namespace pystack::waits;
using pystack::testing::FakeMemory;

namespace {

/// lock, count, owner, users, kind.
using Words = std::array<std::int32_t, 6>;

std::optional<std::int32_t> owner_of(const Words& words, std::uint64_t expected = 2,
                                     std::uint64_t operation = FUTEX_WAIT_PRIVATE) {
    FakeMemory memory;
    const RemoteAddr mutex = memory.allocate(sizeof words);
    memory.put(mutex, words);
    return mutex_owner({SYS_futex, mutex.value, operation, expected}, memory);
}

}  // namespace

TEST_CASE("the owner of a mutex that is waited for") {
    CHECK(owner_of({2, 0, 4711, 1, 0}) == 4711);
    CHECK(owner_of({2, 3, 4711, 1, 1}) == 4711);
    CHECK(owner_of({2, 0, 4711, 1, 2 | 128}) == 4711);
    CHECK(owner_of({2, 0, 4711, 1, 3 | 512}) == 4711);
}

TEST_CASE("words that are no contended mutex") {
    CHECK_FALSE(owner_of({1, 0, 4711, 1, 0}));
    CHECK_FALSE(owner_of({0, 0, 4711, 1, 0}));
    CHECK_FALSE(owner_of({2, 0, 0, 1, 0}));
    CHECK_FALSE(owner_of({2, 0, -5, 1, 0}));
    CHECK_FALSE(owner_of({2, 0, 4711, 0, 0}));
    CHECK_FALSE(owner_of({2, 7, 4711, 1, 0}));
    CHECK_FALSE(owner_of({2, 0, 4711, 1, 1}));
    CHECK_FALSE(owner_of({2, 0, 4711, 1, 32}));
    CHECK_FALSE(owner_of({2, 0, 4711, 1, -1}));
    CHECK_FALSE(owner_of({2, 0, 4711, 1, 0}, 0));
    CHECK_FALSE(owner_of({2, 0, 4711, 1, 0}, 2, FUTEX_WAKE_PRIVATE));
    const FakeMemory memory;
    CHECK_FALSE(mutex_owner({SYS_futex, 0x1000, FUTEX_WAIT_PRIVATE, 2}, memory));
    CHECK_FALSE(mutex_owner({SYS_futex, 0x1004, FUTEX_WAIT_PRIVATE, 2}, memory));
}
