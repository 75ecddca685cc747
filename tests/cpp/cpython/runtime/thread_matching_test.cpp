#include "cpython/runtime/thread_matching.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <span>
#include <vector>

#include "support/fake_memory.h"

using namespace pystack;
using namespace pystack::cpython;
using cpython::ThreadState;
using pystack::testing::FakeMemory;
using target::ThreadInfo;

namespace {

using Matches = std::vector<std::optional<std::size_t>>;

ThreadInfo info(std::int32_t tid, std::optional<std::int32_t> namespace_tid = {}) {
    return {.tid = tid, .namespace_tid = namespace_tid, .name = {}, .run_state = {}};
}

ThreadState state(RemoteAddr pthread, std::optional<std::uint64_t> native_id = {},
                  std::size_t interpreter = 0) {
    return {.address = {0x100},
            .interpreter = interpreter,
            .python_thread_id = pthread.value,
            .native_thread_id = native_id};
}

/// struct pthread, with the tid where glibc has it on x86-64.
RemoteAddr pthread_of(FakeMemory& memory, std::int32_t tid) {
    constexpr std::uint64_t kTidOffset = 720;
    const RemoteAddr address = memory.allocate(2304);
    memory.put(address, address);  // Its own address, as on glibc.
    memory.put(address + kTidOffset, tid);
    return address;
}

}  // namespace

TEST_CASE("threads are matched by the id that the interpreter keeps") {
    const FakeMemory memory;
    const std::vector infos{info(10), info(11), info(12)};
    const std::vector states{state({1}, 12), state({2}, 10), state({3}, 99)};
    CHECK(match_threads(states, infos, {}, memory) == Matches{2, 0, std::nullopt});
}

TEST_CASE("ids are those inside the target's pid namespace") {
    const FakeMemory memory;
    const std::vector infos{info(5000, 1), info(5001, 7)};
    const std::vector states{state({1}, 7), state({2}, 1), state({3}, 5000)};
    CHECK(match_threads(states, infos, {}, memory) == Matches{1, 0, std::nullopt});
}

TEST_CASE("without ids the thread pointer tells") {
    const FakeMemory memory;
    const std::vector infos{info(10), info(11)};
    const std::vector states{state({0x7000}), state({0x8000}), state({0x9000})};
    CHECK(match_threads(states, infos, {{10, {0x8000}}, {11, {0x7000}}}, memory) ==
          Matches{1, 0, std::nullopt});
}

TEST_CASE("without registers the C library's own record tells") {
    FakeMemory memory;
    const std::vector infos{info(10), info(11), info(12)};
    const std::vector states{state(pthread_of(memory, 12)), state(pthread_of(memory, 10)),
                             state(pthread_of(memory, 11))};
    CHECK(match_threads(states, infos, {}, memory) == Matches{2, 0, 1});
}

TEST_CASE("a word that is the same everywhere is no tid") {
    FakeMemory memory;
    const std::vector infos{info(10), info(11)};
    const std::vector states{state(pthread_of(memory, 11)), state(pthread_of(memory, 10))};
    // At an earlier place, in both: the pid, say.
    for (const ThreadState& of : states) memory.put({of.python_thread_id + 40}, std::int32_t{10});
    CHECK(match_threads(states, infos, {}, memory) == Matches{1, 0});
}

TEST_CASE("states of several interpreters can be one thread's") {
    FakeMemory memory;
    const std::vector infos{info(10), info(11)};
    const RemoteAddr main = pthread_of(memory, 10);
    const std::vector states{state(main), state(main, {}, 1), state(pthread_of(memory, 11))};
    CHECK(match_threads(states, infos, {}, memory) == Matches{0, 0, 1});
}

TEST_CASE("of several states of one interpreter with the same id, the oldest is the thread's") {
    const FakeMemory memory;
    const std::vector infos{info(10), info(11)};
    const std::vector states{state({1}, 10), state({1}, 10), state({2}, 11)};
    CHECK(match_threads(states, infos, {}, memory) == Matches{0, std::nullopt, 1});
}

TEST_CASE("a starting thread that has set one of its ids is not its creator") {
    const FakeMemory memory;
    const std::vector infos{info(10), info(11)};
    const std::vector states{state({1}, 10), state({2}, 10), state({1}, 10, 1)};
    CHECK(match_threads(states, infos, {}, memory) == Matches{0, std::nullopt, 0});
}

TEST_CASE("a state with its maker's id belongs to the thread on whose stack it runs") {
    const FakeMemory memory;
    const std::vector infos{info(10), info(11), info(12)};
    const std::vector states{state({0x7000'0000}, 11), state({0x7800'0000}, 12),
                             state({0x7000'0000}, 11, 1), state({0x7f00'0000}, 10),
                             state({0x6000'0000}, {}, 2)};
    const Matches claimed{1, 2, 1, 0, std::nullopt};
    CHECK(match_threads(states, infos, {}, memory) == claimed);
    // The third runs on the stack of the second thread, and the last one on the main thread's.
    const std::vector<std::optional<RemoteAddr>> places{
        {{0x6fff'0000}}, {{0x77ff'2000}}, {{0x77ff'1000}}, {{0x7fff'1000}}, {{0x7fff'0000}}};
    CHECK(match_threads(states, infos, {}, memory, {.of_states = places, .main_tid = 10}) ==
          Matches{1, 2, 2, 0, 0});
}

TEST_CASE("a structure that is freed between two looks at it") {
    /// The second read of a place finds it empty.
    class Freed final : public memory::MemoryReader {
      public:
        explicit Freed(const FakeMemory& source) : source_(source) {}
        std::size_t read_up_to(RemoteAddr address,
                               std::span<std::byte> destination) const override {
            const std::size_t done = source_.read_up_to(address, destination);
            if (address == last_) std::fill(destination.begin(), destination.end(), std::byte{});
            last_ = address;
            return done;
        }

      private:
        const FakeMemory& source_;
        mutable RemoteAddr last_;
    };
    FakeMemory memory;
    const std::vector infos{info(10), info(11)};
    const RemoteAddr main = pthread_of(memory, 10);
    const std::vector states{state(main), state(main, {}, 1), state(pthread_of(memory, 11))};
    const Matches matches = match_threads(states, infos, {}, Freed(memory));
    CHECK(matches[2].value_or(1) == 1);
}

TEST_CASE("nothing is guessed") {
    FakeMemory memory;
    CHECK(match_threads({}, {}, {}, memory).empty());
    CHECK(match_threads(std::vector{state({0x10})}, {}, {}, memory) == Matches{std::nullopt});
    // A structure that cannot be read, none at all, and one that names no thread of the process.
    const std::vector states{state({0x10}), state({}), state(pthread_of(memory, 99))};
    CHECK(match_threads(states, std::vector{info(10)}, {}, memory) ==
          Matches{std::nullopt, std::nullopt, std::nullopt});
}
