// Reads the tasks of asyncio and trio, and greenlets, of memory that is the input: pieces, each
// with its address.

#include <array>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "cpython/layout/layout_table.h"
#include "cpython/tasks/greenlet_reader.h"
#include "cpython/tasks/task_reader.h"
#include "cpython/tasks/trio_reader.h"
#include "driver.h"
#include "memory/page_cache.h"
#include "support/bytes.h"
#include "support/task_heap.h"

using namespace pystack;
using namespace pystack::cpython;

namespace {

using testing::append;

constexpr std::array<std::uint8_t, 9> kMinorVersions = {7, 8, 9, 10, 11, 12, 13, 14, 15};

// An input: the index of a version (a byte), the interpreter or a greenlet's C++ object (four
// bytes); then pieces of memory: the address (four bytes), the size (two), the bytes.

Layout layout_at(std::uint8_t index) {
    const auto layout = static_layout(
        {.major = 3, .minor = kMinorVersions[index % kMinorVersions.size()]}, false, false);
    if (!layout) std::abort();
    return *layout;
}

using State = testing::TaskHeap::State;

RemoteAddr asyncio_interpreter(testing::TaskHeap& heap) {
    const RemoteAddr future = heap.future();
    const RemoteAddr inner =
        heap.coroutine(State::kSuspended, heap.wrapper(future, "_asyncio.FutureIter"));
    const RemoteAddr first = heap.task(heap.coroutine(State::kSuspended, inner), "first", future);
    const RemoteAddr second = heap.task(heap.coroutine(State::kSuspended, first), "second", first);
    return heap.interpreter(
        {first, second, heap.task(heap.coroutine(State::kCreated), "third"),
         heap.task(heap.coroutine(State::kSuspended, {}, "generator"), "fourth")});
}

RemoteAddr trio_interpreter(testing::TaskHeap& heap) {
    const RemoteAddr trap = heap.coroutine(State::kSuspended, {}, "generator");
    const RemoteAddr parent = heap.trio_task(heap.coroutine(State::kSuspended, trap), "parent");
    return heap.trio_interpreter(
        {parent, heap.trio_task(heap.coroutine(State::kSuspended, trap), "child", parent),
         heap.trio_task(heap.coroutine(State::kRunning), "runs", parent)});
}

RemoteAddr greenlet(testing::TaskHeap& heap) {
    constexpr RemoteAddr kStackStart{0x10000};
    const RemoteAddr outer = heap.called_frame({});
    const RemoteAddr frame = heap.object_of_frame(heap.called_frame(outer));
    return heap.greenlet({0x20000}, frame, kStackStart, UINT64_MAX).cpp_object;
}

fuzz::Bytes tasks_of(std::uint8_t index, RemoteAddr (*make)(testing::TaskHeap&)) {
    const Layout layout = layout_at(index);
    testing::TaskHeap heap(layout);
    const RemoteAddr interpreter = make(heap);
    fuzz::Bytes bytes;
    append(bytes, index);
    append(bytes, static_cast<std::uint32_t>(interpreter.value));
    heap.memory.for_each([&](RemoteAddr address, std::span<const std::byte> piece) {
        if (piece.size() > UINT16_MAX) return;
        append(bytes, static_cast<std::uint32_t>(address.value));
        append(bytes, static_cast<std::uint16_t>(piece.size()));
        bytes.insert(bytes.end(), piece.begin(), piece.end());
    });
    return bytes;
}

void look_at(const RawTasks& tasks) {
    for (const RawTask& task : tasks.tasks) {
        if (task.chain.frames.size() > AwaitChains::kMostFrames) std::abort();
        if (task.name) fuzz::use(*task.name);
        fuzz::use(task.awaited_by);
    }
}

}  // namespace

void fuzz::run(std::span<const std::byte> bytes) {
    Input input(bytes);
    const Layout layout = layout_at(input.take<std::uint8_t>());
    const RemoteAddr interpreter{input.take<std::uint32_t>()};
    testing::FakeMemory memory;
    while (!input.rest().empty()) {
        const RemoteAddr address{input.take<std::uint32_t>()};
        const auto piece = input.take_bytes(input.take<std::uint16_t>());
        memory.add(address, {piece.begin(), piece.end()});
    }
    WorkLimits limits(4 << 20, 1'000'000);
    TaskReader reader(memory, layout, limits, std::nullopt);
    RawTasks tasks = reader.read(testing::TaskHeap::walked(interpreter));
    const CodeReader codes(memory, layout);
    reader.explain(tasks, codes);
    look_at(tasks);
    TrioReader trio_reader(memory, layout, limits);
    RawTasks of_trio = trio_reader.read(testing::TaskHeap::walked(interpreter));
    trio_reader.explain(of_trio, codes);
    look_at(of_trio);
    look_at(GreenletReader(memory, layout, limits).read(std::span(&interpreter, 1)));
}

std::vector<fuzz::Bytes> fuzz::seeds() {
    std::vector<Bytes> seeds;
    for (std::uint8_t i = 0; i < kMinorVersions.size(); ++i) {
        seeds.push_back(tasks_of(i, asyncio_interpreter));
        seeds.push_back(tasks_of(i, trio_interpreter));
        seeds.push_back(tasks_of(i, greenlet));
    }
    return seeds;
}
