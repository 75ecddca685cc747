#include "waits/pthreads.h"

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
    const auto waited = waited_mutex({SYS_futex, mutex.value, operation, expected}, memory);
    if (!waited) return std::nullopt;
    CHECK(waited->address == mutex);
    return waited->owner;
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
    CHECK_FALSE(waited_mutex({SYS_futex, 0x1000, FUTEX_WAIT_PRIVATE, 2}, memory));
    CHECK_FALSE(waited_mutex({SYS_futex, 0x1004, FUTEX_WAIT_PRIVATE, 2}, memory));
}

namespace {

/// The words of a pthread_cond_t of glibc 2.36: two numbers of 64 bits, references, sizes, the
/// first size, waiters, signals.
using Condition = std::array<std::uint32_t, 12>;

constexpr Condition kOneWaiter{2, 0, 0, 0, 2, 0, 0, 0, 0, 8, 0, 0};

bool is_condition(const Condition& words, std::size_t futex = 10,
                  std::uint64_t operation = FUTEX_WAIT_BITSET_PRIVATE, std::uint64_t expected = 0) {
    FakeMemory memory;
    const RemoteAddr condition = memory.allocate(sizeof words);
    memory.put(condition, words);
    return waits_on_condition(
        {SYS_futex, condition.value + futex * sizeof(std::uint32_t), operation, expected}, memory);
}

Condition with(std::size_t word, std::uint32_t value) {
    Condition words = kOneWaiter;
    words[word] = value;
    return words;
}

}  // namespace

TEST_CASE("a condition that is waited for, of old and new glibc") {
    CHECK(is_condition(kOneWaiter));
    CHECK(is_condition({7, 0, 1, 0, 0, 2, 1, 0, 4, 8 | 2, 0, 0}, 11));
    CHECK(is_condition(with(9, 9), 10, FUTEX_WAIT_BITSET));
    CHECK(is_condition({2, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0}, 8));
}

TEST_CASE("words that are no condition with a waiter") {
    CHECK_FALSE(is_condition({}));
    CHECK_FALSE(is_condition(kOneWaiter, 9));
    CHECK_FALSE(is_condition(kOneWaiter, 11));
    // That is how musl's mutexes are waited for, behind whatever words.
    CHECK_FALSE(is_condition(kOneWaiter, 10, FUTEX_WAIT_PRIVATE, 0x80000010));
    CHECK_FALSE(is_condition(with(0, 0)));
    CHECK_FALSE(is_condition(with(2, 4)));
    CHECK_FALSE(is_condition(with(4, 0)));
    CHECK_FALSE(is_condition(with(9, 0)));
    CHECK_FALSE(is_condition(with(9, 9)));
    CHECK_FALSE(is_condition(with(9, 1U << 31)));
    CHECK_FALSE(is_condition(kOneWaiter, 10, FUTEX_WAKE_PRIVATE));
    CHECK_FALSE(waits_on_condition({SYS_futex, 8, FUTEX_WAIT_BITSET_PRIVATE, 0}, FakeMemory{}));
}

TEST_CASE("the thread that is joined") {
    FakeMemory memory;
    const RemoteAddr thread = memory.allocate(0x2D8);
    const RemoteAddr word = thread + 0x2D0;
    memory.put(word, std::int32_t{4711});
    const auto joined = [&](std::uint64_t operation, std::uint64_t expected) {
        return joined_thread({SYS_futex, word.value, operation, expected}, memory);
    };
    CHECK_FALSE(joined(FUTEX_WAIT_BITSET, 4711));
    memory.put(thread, thread.value);
    memory.put(thread + 0x10, thread.value);
    CHECK(joined(FUTEX_WAIT_BITSET, 4711) == 4711);
    CHECK_FALSE(joined(FUTEX_WAIT_BITSET_PRIVATE, 4711));
    CHECK_FALSE(joined(FUTEX_WAIT_BITSET, 4712));
    memory.put(word, std::int32_t{0});
    CHECK_FALSE(joined(FUTEX_WAIT_BITSET, 0));
}
