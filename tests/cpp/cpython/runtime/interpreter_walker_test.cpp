#include "cpython/runtime/interpreter_walker.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <functional>
#include <random>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "support/fake_runtime.h"

using namespace pystack;
using namespace pystack::cpython;
using pystack::testing::FakeRuntime;
using pystack::testing::for_each_version;

namespace {

std::vector<RemoteAddr> addresses(const WalkedInterpreters& walked) {
    std::vector<RemoteAddr> found;
    for (const ThreadState& thread : walked.threads) found.push_back(thread.address);
    return found;
}

std::vector<RemoteAddr> sorted_addresses(const WalkedInterpreters& walked) {
    auto found = addresses(walked);
    std::sort(found.begin(), found.end());
    return found;
}

/// Does something before every read.
class Watched final : public memory::MemoryReader {
  public:
    template <class Action>
    Watched(const memory::MemoryReader& source, Action action)
        : source_(source), action_(std::move(action)) {}

    std::size_t read_up_to(RemoteAddr address, std::span<std::byte> destination) const override {
        action_(address);
        return source_.read_up_to(address, destination);
    }

  private:
    const memory::MemoryReader& source_;
    std::function<void(RemoteAddr)> action_;
};

}  // namespace

TEST_CASE("threads of each interpreter, oldest first") {
    for_each_version<FakeRuntime>([](FakeRuntime& fake) {
        const RemoteAddr main = fake.add_interpreter(0);
        const RemoteAddr sub = fake.add_interpreter(1);
        const RemoteAddr first = fake.add_thread(main, 11);
        const RemoteAddr second = fake.add_thread(main, 12);
        const RemoteAddr other = fake.add_thread(sub, 13);

        const WalkedInterpreters walked = walk_interpreters(fake.memory(), fake.runtime);
        CHECK_FALSE(walked.problem);
        REQUIRE(walked.interpreters.size() == 2);
        CHECK(walked.interpreters[0].address == sub);
        CHECK(walked.interpreters[1].address == main);
        if (fake.layout.interpreter_state.id) {
            CHECK(walked.interpreters[0].id == 1);
            CHECK(walked.interpreters[1].id == 0);
        }
        CHECK(addresses(walked) == std::vector{other, first, second});
        CHECK(walked.threads[1].python_thread_id == 11);
        CHECK(walked.threads[1].interpreter == 1);
        CHECK(walked.threads[1].native_thread_id.has_value() ==
              fake.layout.thread_state.native_thread_id.has_value());
        CHECK(walked.threads[1].native_thread_id.value_or(1011) == 1011);
        const bool has_ids = fake.layout.thread_state.id.has_value();
        CHECK((walked.threads[1].unique_id != walked.threads[2].unique_id) == has_ids);
    });
}

TEST_CASE("lists that are rings end, with each thread once") {
    for (const char* ring : {"threads", "one thread", "interpreters"}) {
        CAPTURE(ring);
        for_each_version<FakeRuntime>([&](FakeRuntime& fake) {
            const RemoteAddr main = fake.add_interpreter(0);
            const RemoteAddr first = fake.add_thread(main, 1);
            const RemoteAddr second = fake.add_thread(main, 2);
            const std::string_view kind = ring;
            const RemoteAddr next = first + *fake.layout.thread_state.next;
            if (kind == "threads") fake.memory().put(next, second);
            if (kind == "one thread") fake.memory().put(next, first);
            if (kind == "interpreters")
                fake.memory().put(main + *fake.layout.interpreter_state.next, main);
            const WalkedInterpreters walked = walk_interpreters(fake.memory(), fake.runtime);
            CHECK(sorted_addresses(walked) == std::vector{first, second});
            REQUIRE(walked.problem);
            CHECK(walked.problem->code == ErrorCode::kCorruptData);
        });
    }
}

TEST_CASE("what was read before a list breaks is kept") {
    const std::pair<const char*, ErrorCode> cases[] = {
        {"a thread is unmapped", ErrorCode::kReadFault},
        {"a pointer is wild", ErrorCode::kReadFault},
        {"a thread belongs to another interpreter", ErrorCode::kCorruptData},
    };
    for (const auto& [how, expected] : cases) {
        CAPTURE(how);
        for_each_version<FakeRuntime>([&](FakeRuntime& fake) {
            const RemoteAddr main = fake.add_interpreter(0);
            const RemoteAddr sub = fake.add_interpreter(1);
            const RemoteAddr first = fake.add_thread(main, 1);
            const RemoteAddr second = fake.add_thread(main, 2);
            const RemoteAddr other = fake.add_thread(sub, 3);
            const std::string_view kind = how;
            if (kind == "a thread is unmapped") {
                fake.unmap(first);
            } else if (kind == "a pointer is wild") {
                fake.memory().put(second + *fake.layout.thread_state.next, ~std::uint64_t{0} - 3);
            } else {
                fake.memory().put(first + *fake.layout.thread_state.interp, sub);
            }
            const WalkedInterpreters walked = walk_interpreters(fake.memory(), fake.runtime);
            CHECK(walked.interpreters.size() == 2);
            CHECK(sorted_addresses(walked) == std::vector{second, other});
            REQUIRE(walked.problem);
            CHECK(walked.problem->code == expected);
        });
    }
}

TEST_CASE("no interpreter, or none that can be read") {
    for_each_version<FakeRuntime>([](FakeRuntime& fake) {
        CHECK(walk_interpreters(fake.memory(), fake.runtime).interpreters.empty());
        CHECK_FALSE(walk_interpreters(fake.memory(), fake.runtime).problem);
        fake.runtime.interpreters_head = {0x10};
        const WalkedInterpreters walked = walk_interpreters(fake.memory(), fake.runtime);
        REQUIRE(walked.problem);
        CHECK(walked.problem->code == ErrorCode::kReadFault);
    });
}

TEST_CASE("random interpreters and threads end in time") {
    std::mt19937_64 random(7);
    for (int round = 0; round < 10; ++round) {
        for_each_version<FakeRuntime>([&](FakeRuntime& fake) {
            // Pointers at each other, and sometimes elsewhere, in structures full of random words.
            std::vector<RemoteAddr> places;
            for (int i = 0; i < 20; ++i) places.push_back(fake.add_interpreter(i));
            const auto anywhere = [&] {
                const auto choice = random() % 8;
                if (choice == 0) return RemoteAddr{random()};
                if (choice == 1) return RemoteAddr{};
                return places[random() % places.size()];
            };
            for (const RemoteAddr place : places) {
                std::vector<RemoteAddr> words(fake.layout.interpreter_state.struct_size / 8);
                std::generate(words.begin(), words.end(), anywhere);
                fake.memory().write(place, std::as_bytes(std::span(words)));
            }
            const WalkedInterpreters walked = walk_interpreters(fake.memory(), fake.runtime);
            CHECK(walked.interpreters.size() <= places.size());
            CHECK(walked.threads.size() <= places.size());
        });
    }
}

TEST_CASE("collecting and finalizing are what the target says") {
    for_each_version<FakeRuntime>([](FakeRuntime& fake) {
        const Layout& layout = fake.layout;
        const RemoteAddr main = fake.add_interpreter(0);
        fake.add_thread(main, 1);
        const auto walk = [&] {
            return walk_interpreters(fake.memory(), fake.runtime).interpreters.at(0);
        };
        std::optional<RemoteAddr> gc;
        if (layout.gc_place == GcPlace::kRuntime)
            gc = fake.runtime.address + *layout.runtime_state.gc;
        if (layout.gc_place == GcPlace::kInterpreter) gc = main + *layout.interpreter_state.gc;
        CHECK(walk().gc_collecting == (gc ? std::optional(false) : std::nullopt));
        if (gc) {
            fake.memory().put(*gc + *layout.gc.collecting, std::int32_t{1});
            CHECK(walk().gc_collecting == true);
        }
        if (layout.runtime_state.finalizing) {
            CHECK(walk().finalizing == false);
            fake.memory().put(fake.runtime.address + *layout.runtime_state.finalizing,
                              std::uint64_t{8});
            CHECK(walk().finalizing == true);
        }
    });
}

TEST_CASE("a list that changes is walked until two walks agree") {
    FakeRuntime fake(pystack::testing::layout_of(13));
    const RemoteAddr main = fake.add_interpreter(0);
    fake.add_thread(main, 1);
    const RemoteAddr newest = fake.add_thread(main, 2);
    const RemoteAddr head = main + *fake.layout.interpreter_state.threads_head;
    int walks = 0;
    // In each of the first three walks a thread more is there.
    const Watched memory(fake.memory(), [&](RemoteAddr address) {
        if (address == head && ++walks <= 3)
            fake.add_thread(main, 10 + static_cast<std::uint64_t>(walks));
    });
    const WalkedInterpreters walked = walk_running_interpreters(memory, fake.runtime, 20);
    CHECK(walks == 4);
    CHECK(walked.threads.size() == 5);
    CHECK_FALSE(walked.problem);

    walks = 0;
    CHECK(walk_running_interpreters(memory, fake.runtime, 2).threads.size() == 7);
    CHECK(walks == 2);

    // Once it stands still, two walks are enough.
    walks = 100;
    walk_running_interpreters(memory, fake.runtime, 20);
    CHECK(walks == 102);
    CHECK(newest);
}
