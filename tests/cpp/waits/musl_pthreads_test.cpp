#include <doctest/doctest.h>
#include <linux/futex.h>
#include <sys/syscall.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "support/fake_memory.h"
#include "support/hostile_memory.h"
#include "waits/pthreads.h"

using namespace pystack;
using namespace pystack::waits;
using pystack::testing::FakeMemory;

namespace {

using Futexes = std::vector<RemoteAddr>;

constexpr std::uint64_t kNewest = 8;
constexpr std::uint64_t kOldest = 40;
constexpr std::uint64_t kFutex = 20;

std::optional<Futexes> futexes_at(const memory::MemoryReader& memory, RemoteAddr condition) {
    std::array<std::byte, kConditionBytes> bytes{};
    const std::size_t size = memory.read_up_to(condition, bytes);
    return condition_futexes(
        memory, memory::RemoteStruct(condition, std::span<const std::byte>(bytes).first(size)));
}

/// A pthread_cond_t of musl and its waiters, on stacks of their own.
struct Condition {
    explicit Condition(std::size_t waiters) {
        for (std::size_t i = 0; i < waiters; ++i) nodes.push_back(memory.allocate(32));
        for (std::size_t i = 0; i < waiters; ++i) {
            // prev, next, state, barrier, notify
            if (i > 0) memory.put(nodes[i], nodes[i - 1]);
            if (i + 1 < waiters) memory.put(nodes[i] + 8, nodes[i + 1]);
            memory.put(nodes[i] + kFutex, std::int32_t{2});
        }
        if (waiters > 0) put_ends(nodes.front(), nodes.back());
    }

    void put_ends(RemoteAddr newest, RemoteAddr oldest) {
        memory.put(address + kNewest, newest);
        memory.put(address + kOldest, oldest);
    }

    std::optional<Futexes> futexes() const { return futexes_at(memory, address); }

    FakeMemory memory;
    RemoteAddr address = memory.allocate(kConditionBytes);
    Futexes nodes;
};

/// Another memory, in which something happens after so many reads.
class ChangingMemory final : public memory::MemoryReader {
  public:
    ChangingMemory(FakeMemory& memory, int reads, std::function<void()> change)
        : memory_(memory), left_(reads), change_(std::move(change)) {}

    std::size_t read_up_to(RemoteAddr address, std::span<std::byte> destination) const override {
        if (left_-- == 0) change_();
        return memory_.read_up_to(address, destination);
    }

  private:
    FakeMemory& memory_;
    mutable int left_;
    std::function<void()> change_;
};

}  // namespace

TEST_CASE("the futexes of threads that wait on a condition of musl") {
    for (const std::size_t waiters : {0, 1, 2, 100}) {
        const Condition condition(waiters);
        Futexes expected;
        for (const RemoteAddr node : condition.nodes) expected.push_back(node + kFutex);
        CHECK(condition.futexes() == expected);
    }
}

TEST_CASE("a waiter that was just added, signaled, or is leaving") {
    Condition condition(3);
    condition.memory.put(condition.nodes[1], RemoteAddr{});
    condition.memory.put(condition.nodes[1] + 16, std::int32_t{1});
    condition.memory.put(condition.nodes[2] + 16, std::int32_t{2});
    condition.memory.put(condition.nodes[2] + kFutex, std::int32_t{0});
    CHECK(condition.futexes()->size() == 3);
}

TEST_CASE("words of glibc's conditions are no list") {
    FakeMemory memory;
    const RemoteAddr condition = memory.allocate(kConditionBytes);
    // group_start, which counts, and what may be signals.
    memory.put(condition + kNewest, std::uint64_t{4096});
    CHECK(futexes_at(memory, condition) == Futexes{});
    memory.put(condition + kOldest, std::uint64_t{2});
    CHECK_FALSE(futexes_at(memory, condition));
    CHECK_FALSE(condition_futexes(memory, memory::RemoteStruct(condition, {})));
}

TEST_CASE("lists that lead nowhere, or never end") {
    SUBCASE("a ring") {
        Condition condition(5);
        condition.memory.put(condition.nodes[4] + 8, condition.nodes[1]);
        CHECK_FALSE(condition.futexes());
    }
    SUBCASE("a waiter behind itself") {
        Condition condition(1);
        condition.memory.put(condition.nodes[0] + 8, condition.nodes[0]);
        CHECK_FALSE(condition.futexes());
    }
    SUBCASE("a waiter that cannot be read") {
        Condition condition(3);
        condition.memory.remove(condition.nodes[1]);
        CHECK_FALSE(condition.futexes());
    }
    SUBCASE("an odd address") {
        Condition condition(3);
        condition.memory.put(condition.nodes[0] + 8, condition.nodes[1] + 4);
        CHECK_FALSE(condition.futexes());
    }
    SUBCASE("the end is another one") {
        Condition condition(3);
        condition.put_ends(condition.nodes[0], condition.nodes[1]);
        CHECK_FALSE(condition.futexes());
    }
    SUBCASE("words that no waiter has") {
        for (const auto& [offset, value] : {std::pair{16, 3}, {16, -1}, {20, 3}, {20, -1}}) {
            Condition condition(3);
            condition.memory.put(condition.nodes[1] + static_cast<std::uint64_t>(offset), value);
            CHECK_FALSE(condition.futexes());
        }
    }
    SUBCASE("the highest addresses") {
        Condition condition(1);
        condition.put_ends({~std::uint64_t{7}}, {~std::uint64_t{7}});
        CHECK_FALSE(condition.futexes());
    }
}

TEST_CASE("a list is followed for so long only") {
    const Condition condition(6000);
    CHECK(condition.futexes()->size() == 4096);
    CHECK(condition.memory.calls() < 5000);
}

TEST_CASE("a list that changes while it is followed is read again") {
    Condition condition(3);
    // The waiter at the front leaves, and uses its stack for something else.
    const ChangingMemory memory(condition.memory, 1, [&] {
        condition.memory.put(condition.nodes[0] + 8, std::uint64_t{0});
        condition.memory.put(condition.nodes[1], std::uint64_t{0});
        condition.put_ends(condition.nodes[1], condition.nodes[2]);
    });
    CHECK(futexes_at(memory, condition.address) ==
          Futexes{condition.nodes[1] + kFutex, condition.nodes[2] + kFutex});
}

TEST_CASE("a list that leads nowhere is not read for ever") {
    Condition condition(2);
    condition.memory.remove(condition.nodes[1]);
    CHECK_FALSE(condition.futexes());
    CHECK(condition.memory.calls() < 40);
}

TEST_CASE("conditions, mutexes and threads in any bytes") {
    for (std::uint64_t seed = 0; seed < 200; ++seed) {
        const testing::HostileMemory memory(seed);
        for (std::uint64_t address = 0x100000; address < 0x100400; address += 4) {
            const auto futexes = futexes_at(memory, {address});
            CHECK((!futexes || futexes->size() <= 4096));
            for (const std::uint64_t expected : {std::uint64_t{2}, std::uint64_t{0x80000001}}) {
                const arch::Syscall call{SYS_futex, address, FUTEX_WAIT_PRIVATE, expected};
                const auto mutex = waited_mutex(call, memory);
                CHECK((!mutex || mutex->owner > 0));
                joined_thread(call, memory);
            }
        }
    }
}

TEST_CASE("a futex that may be that of a waiter") {
    CHECK(may_wait_on_stack({SYS_futex, 0x1014, FUTEX_WAIT_PRIVATE, 2}));
    CHECK_FALSE(may_wait_on_stack({SYS_futex, 0x1010, FUTEX_WAIT_PRIVATE, 2}));
    CHECK_FALSE(may_wait_on_stack({SYS_futex, 0x1014, FUTEX_WAIT_PRIVATE, 1}));
    CHECK_FALSE(may_wait_on_stack({SYS_futex, 0x1014, FUTEX_WAKE_PRIVATE, 2}));
}

namespace {

constexpr std::uint32_t kContended = 0x80000000;

/// kind, lock, waiters
using Mutex = std::array<std::uint32_t, 4>;

std::optional<std::int32_t> owner_of(const Mutex& words, std::uint64_t expected,
                                     std::uint64_t operation = FUTEX_WAIT_PRIVATE) {
    FakeMemory memory;
    const RemoteAddr mutex = memory.allocate(sizeof words);
    memory.put(mutex, words);
    const auto waited = waited_mutex({SYS_futex, mutex.value + 4, operation, expected}, memory);
    if (!waited) return std::nullopt;
    CHECK(waited->address == mutex);
    return waited->owner;
}

}  // namespace

TEST_CASE("the owner of a mutex of musl that is waited for") {
    constexpr std::uint32_t kLock = kContended | 4711;
    CHECK(owner_of({1, kLock, 1}, kLock) == 4711);
    CHECK(owner_of({2, kLock, 3}, kLock) == 4711);
    CHECK(owner_of({1 | 128, kLock, 1}, kLock, FUTEX_WAIT) == 4711);
    // It has no owner: EBUSY is in its place.
    CHECK_FALSE(owner_of({0, kContended | 16, 1}, kContended | 16));
    CHECK_FALSE(owner_of({1, 4711, 1}, 4711));
    CHECK_FALSE(owner_of({1, kLock, 0}, kLock));
    CHECK_FALSE(owner_of({1, kLock, kContended}, kLock));
    CHECK_FALSE(owner_of({1, kLock, 1}, kContended | 4712));
    CHECK_FALSE(owner_of({1 | 128, kLock, 1}, kLock));
    CHECK_FALSE(owner_of({1 | 8, kLock, 1}, kLock));
    CHECK_FALSE(owner_of({1, kContended, 1}, kContended));
    CHECK_FALSE(owner_of({1, kLock | 0x40000000, 1}, kLock | 0x40000000));
    CHECK_FALSE(owner_of({1, kLock, 1}, kLock, FUTEX_WAKE_PRIVATE));
}

TEST_CASE("the thread that is joined, of musl") {
    FakeMemory memory;
    const RemoteAddr thread = memory.allocate(64);
    const auto joined = [&](std::uint64_t expected) {
        return joined_thread({SYS_futex, (thread + 56).value, FUTEX_WAIT_PRIVATE, expected},
                             memory);
    };
    memory.put(thread + 48, std::int32_t{4711});
    memory.put(thread + 56, std::int32_t{2});
    CHECK_FALSE(joined(2));
    memory.put(thread, thread);
    CHECK(joined(2) == 4711);
    CHECK_FALSE(joined(1));
    memory.put(thread + 56, std::int32_t{3});
    CHECK_FALSE(joined(3));
    memory.put(thread + 56, std::int32_t{1});
    memory.put(thread + 48, std::int32_t{0});
    CHECK_FALSE(joined(1));
}

TEST_CASE("semaphores that were posted, of glibc, and of old and new musl") {
    FakeMemory memory;
    const RemoteAddr semaphore = memory.allocate(32);
    const auto posted = [&](std::uint32_t value) {
        memory.put(semaphore, value);
        return may_be_posted(memory, semaphore);
    };
    CHECK_FALSE(posted(0));
    CHECK(posted(1));
    CHECK_FALSE(posted(~std::uint32_t{0}));
    CHECK_FALSE(posted(kContended));
    CHECK(posted(kContended | 1));
    CHECK(may_be_posted(memory, {0x10}));
}
