#include "cpython/runtime/thread_names.h"

#include <doctest/doctest.h>

#include <random>
#include <string>
#include <vector>

#include "support/fake_heap.h"
#include "support/hostile_memory.h"

using namespace pystack;
using namespace pystack::cpython;
using pystack::testing::FakeMemory;
using pystack::testing::HostileMemory;
using pystack::testing::kMinors;
using pystack::testing::layout_of;
using Heap = pystack::testing::FakeHeap;

TEST_CASE("thread names") {
    for (const std::uint8_t minor : kMinors) {
        CAPTURE(minor);
        const Layout layout = layout_of(minor);
        Heap heap(layout);
        const RemoteAddr modules_word{0x8000};
        heap.memory.add(modules_word, std::vector<std::byte>(8));
        const RemoteAddr interpreter = modules_word - *layout.interpreter_state.imports_modules;

        CHECK(read_thread_names(heap.memory, layout, interpreter)->empty());
        heap.memory.put(modules_word, heap.dict({{heap.str("sys"), {1}}}));
        CHECK(read_thread_names(heap.memory, layout, interpreter)->empty());

        const RemoteAddr name_key = heap.str("_name");
        Heap::Items active;
        std::size_t calls[2];
        for (std::size_t& count : calls) {
            for (std::uint32_t i = 1; i <= 40; ++i) {
                const auto id = static_cast<std::uint32_t>(active.size()) + 1;
                const Heap::Items items{{name_key, heap.str("thread-" + std::to_string(id))}};
                const RemoteAddr keys = heap.keys(items, Heap::Kind::kSplit);
                active.push_back({heap.integer(false, {id, 1}),
                                  heap.plain_instance(heap.plain_type(keys), keys, items)});
            }
            active.push_back({heap.str("not an int"), heap.str("not a thread")});
            const RemoteAddr threads = heap.dict_of(heap.keys(active, Heap::Kind::kGeneral, 9));
            const RemoteAddr module = heap.module(heap.dict({{heap.str("_active"), threads}}));
            heap.memory.put(modules_word, heap.dict({{heap.str("threading"), module}}));
            const std::size_t before = heap.memory.calls();
            const auto names = read_thread_names(heap.memory, layout, interpreter);
            count = heap.memory.calls() - before;
            REQUIRE(names);
            CHECK(names->at((std::uint64_t{1} << 30) + 7) == "thread-7");
        }
        CHECK(calls[0] == calls[1]);
        CHECK(calls[0] <= 30);
    }
}

TEST_CASE("no thread names from a layout that lacks the members") {
    FakeMemory memory;
    const auto names = read_thread_names(memory, Layout{}, memory.allocate(64));
    REQUIRE_FALSE(names);
    CHECK(names.error().code == ErrorCode::kOffsetsRejected);
    CHECK(memory.calls() == 0);
}

TEST_CASE("hostile memory ends the reader of thread names") {
    std::mt19937_64 random(7);
    for (const std::uint8_t minor : kMinors) {
        const Layout layout = layout_of(minor);
        for (int round = 0; round < 100; ++round) {
            const HostileMemory memory(random());
            (void)read_thread_names(memory, layout, RemoteAddr{0x100000 + random() % 65536 * 8});
        }
    }
}

TEST_CASE("thread names behind cyclic pointers end") {
    for (const std::uint8_t minor : kMinors) {
        const Layout layout = layout_of(minor);
        FakeMemory memory;
        const RemoteAddr start = add_cycle(memory);
        (void)read_thread_names(memory, layout, start);
        CHECK(memory.calls() < 100);
    }
}
