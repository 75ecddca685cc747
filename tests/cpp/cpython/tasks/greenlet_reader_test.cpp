#include "cpython/tasks/greenlet_reader.h"

#include <doctest/doctest.h>

#include <array>
#include <vector>

#include "cpython/tasks/greenlet_search.h"
#include "memory/page_cache.h"
#include "support/hostile_memory.h"
#include "support/task_heap.h"

using namespace pystack;
using namespace pystack::cpython;
using pystack::testing::HostileMemory;
using pystack::testing::kMinors;
using pystack::testing::layout_of;
using pystack::testing::TaskHeap;

namespace {

constexpr RemoteRange kLibrary{{0x7f0000000000}, {0x7f0000010000}};
constexpr RemoteAddr kVirtualTable{0x7f0000000100};
constexpr RemoteAddr kStackStart{0x7ffe00000000};
constexpr std::uint64_t kStackStop = 0x7ffe00001000;
constexpr std::uint64_t kMainStop = UINT64_MAX;

elf::Mapping heap_mapping(RemoteRange range) {
    elf::Mapping mapping{.range = range};
    mapping.readable = true;
    mapping.writable = true;
    return mapping;
}

std::vector<elf::Module> library() {
    elf::Module module;
    module.path = "/site/greenlet/_greenlet.cpython-311-x86_64-linux-gnu.so";
    module.mappings.push_back({.range = kLibrary});
    return {module};
}

RawTasks read(TaskHeap& heap, const std::vector<RemoteAddr>& objects) {
    WorkLimits limits;
    return GreenletReader(heap.memory, heap.layout, limits).read(objects);
}

}  // namespace

TEST_CASE("the frames of suspended greenlets") {
    for (const std::uint8_t minor : kMinors) {
        CAPTURE(minor);
        const Layout layout = layout_of(minor);
        TaskHeap heap(layout);
        const RemoteAddr outer = heap.called_frame({});
        const RemoteAddr inner = heap.called_frame(outer);
        const auto one =
            heap.greenlet(kVirtualTable, heap.object_of_frame(inner), kStackStart, kStackStop);
        const auto main =
            heap.greenlet(kVirtualTable, heap.object_of_frame(outer), kStackStart, kMainStop);
        const RawTasks found = read(heap, {one.cpp_object, main.cpp_object});
        REQUIRE(found.tasks.size() == 2);
        const RawTask& task = found.tasks.front();
        CHECK(task.address == one.object);
        CHECK(task.library == model::TaskLibrary::kGreenlet);
        CHECK(task.name == "greenlet.greenlet");
        CHECK(task.state == model::TaskState::kUnknown);
        CHECK(task.c_stack == kStackStart);
        CHECK(task.chain.end == AwaitChain::End::kRunning);
        REQUIRE(task.chain.frames.size() == 2);
        CHECK(task.chain.frames.front().frame.address == outer);
        CHECK(task.chain.frames.back().frame.address == inner);
        CHECK(found.tasks.back().name == "main greenlet");
    }
}

TEST_CASE("without a frame, or without a stack, it is not suspended") {
    for (const std::uint8_t minor : kMinors) {
        CAPTURE(minor);
        const Layout layout = layout_of(minor);
        TaskHeap heap(layout);
        const RemoteAddr frame = heap.object_of_frame(heap.called_frame({}));
        const auto runs = heap.greenlet(kVirtualTable, {}, kStackStart, kStackStop);
        const auto ended = heap.greenlet(kVirtualTable, frame, {}, kStackStop);
        const auto other =
            heap.greenlet(kVirtualTable, heap.typed_str("no frame"), kStackStart, kStackStop);
        auto freed = heap.greenlet(kVirtualTable, frame, kStackStart, kStackStop);
        heap.memory.put(freed.object + layout.pyobject.struct_size + 16, RemoteAddr{});
        CHECK(read(heap, {runs.cpp_object, ended.cpp_object, other.cpp_object, freed.cpp_object})
                  .tasks.empty());
    }
}

TEST_CASE("a ring of frames ends") {
    for (const std::uint8_t minor : kMinors) {
        CAPTURE(minor);
        const Layout layout = layout_of(minor);
        TaskHeap heap(layout);
        const RemoteAddr outer = heap.called_frame({});
        const RemoteAddr inner = heap.called_frame(outer);
        heap.memory.put(outer + *layout.interpreter_frame.previous, inner);
        const auto one =
            heap.greenlet(kVirtualTable, heap.object_of_frame(inner), kStackStart, kStackStop);
        const RawTasks found = read(heap, {one.cpp_object});
        REQUIRE(found.tasks.size() == 1);
        CHECK(found.tasks.front().chain.end == AwaitChain::End::kRing);
    }
}

TEST_CASE("greenlets are found by the library's table of virtual functions") {
    const Layout layout = layout_of(11);
    TaskHeap heap(layout);
    const RemoteAddr frame = heap.object_of_frame(heap.called_frame({}));
    const auto one = heap.greenlet(kVirtualTable, frame, kStackStart, kStackStop);
    const auto of_others = heap.greenlet({0x7e0000000100}, frame, kStackStart, kStackStop);
    const auto forgotten = heap.greenlet(kVirtualTable, frame, kStackStart, kStackStop);
    heap.memory.put(forgotten.object + layout.pyobject.struct_size + 16, one.cpp_object);
    std::vector<elf::Mapping> mappings;
    for (const RemoteAddr object : {one.cpp_object, of_others.cpp_object, forgotten.cpp_object})
        mappings.push_back(heap_mapping({object, object + 24 * 8}));
    const WorkLimits limits;
    const FoundGreenlets found = search_greenlets(heap.memory, layout, mappings, library(), limits);
    CHECK(found.objects == std::vector{one.cpp_object});
    CHECK_FALSE(found.is_cut);
    CHECK(search_greenlets(heap.memory, layout, mappings, {}, limits).objects.empty());
    // Memory of files has no objects.
    mappings.front().inode = 1;
    CHECK(search_greenlets(heap.memory, layout, mappings, library(), limits).objects.empty());
}

TEST_CASE("a search through endless memory ends, and says so") {
    const HostileMemory memory(1);
    const Layout layout = layout_of(11);
    const std::array mappings{heap_mapping({{0x1000}, {UINT64_MAX - 0xfff}})};
    const WorkLimits limits;
    CHECK(search_greenlets(memory, layout, mappings, library(), limits).is_cut);
}

TEST_CASE("random memory ends") {
    for (const std::uint8_t minor : kMinors) {
        const Layout layout = layout_of(minor);
        for (std::uint64_t seed = 0; seed < 20; ++seed) {
            const HostileMemory memory(seed);
            WorkLimits limits(1 << 20, 100'000);
            const memory::PageCache pages(memory);
            std::vector<RemoteAddr> objects;
            for (std::uint64_t i = 0; i < 100; ++i) objects.push_back({0x100000 + i * 64});
            GreenletReader(pages, layout, limits).read(objects);
        }
    }
}
