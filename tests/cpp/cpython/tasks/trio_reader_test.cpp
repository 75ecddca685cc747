#include "cpython/tasks/trio_reader.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "memory/page_cache.h"
#include "support/hostile_memory.h"
#include "support/task_heap.h"

using namespace pystack;
using namespace pystack::cpython;
using pystack::testing::HostileMemory;
using pystack::testing::kMinors;
using pystack::testing::layout_of;
using pystack::testing::TaskHeap;
using State = TaskHeap::State;

namespace {

RawTasks read(TaskHeap& heap, const std::vector<RemoteAddr>& tasks) {
    WorkLimits limits;
    TrioReader reader(heap.memory, heap.layout, limits);
    RawTasks found = reader.read(TaskHeap::walked(heap.trio_interpreter(tasks)));
    const CodeReader codes(heap.memory, heap.layout);
    reader.explain(found, codes);
    return found;
}

const RawTask& named(const RawTasks& tasks, const std::string& name) {
    const auto found = std::ranges::find(tasks.tasks, name, &RawTask::name);
    REQUIRE(found != tasks.tasks.end());
    return *found;
}

}  // namespace

TEST_CASE("the tasks of a run, their states and parents") {
    using model::TaskState;
    for (const std::uint8_t minor : kMinors) {
        CAPTURE(minor);
        const Layout layout = layout_of(minor);
        TaskHeap heap(layout);
        const RemoteAddr trap = heap.coroutine(State::kSuspended, {}, "generator");
        const RemoteAddr parent = heap.trio_task(heap.coroutine(State::kSuspended, trap), "parent");
        const RemoteAddr ready =
            heap.trio_task(heap.coroutine(State::kSuspended, trap), "ready", parent, true);
        const RawTasks found = read(
            heap, {parent, ready, heap.trio_task(heap.coroutine(State::kRunning), "runs", parent),
                   heap.trio_task(heap.coroutine(State::kCreated), "new", parent, true),
                   heap.trio_task(heap.coroutine(State::kFinished), "done", parent)});
        CHECK(found.problems.empty());
        REQUIRE(found.tasks.size() == 4);
        CHECK(named(found, "parent").state == TaskState::kWaiting);
        CHECK(named(found, "parent").awaited_by.empty());
        CHECK(named(found, "parent").chain.frames.size() == 2);
        CHECK(named(found, "ready").state == TaskState::kReady);
        CHECK(named(found, "runs").state == TaskState::kRunning);
        CHECK(named(found, "new").state == TaskState::kCreated);
        for (const char* name : {"ready", "runs", "new"})
            CHECK(named(found, name).awaited_by == std::vector{parent.value});
        REQUIRE(found.loops.size() == 1);
        CHECK(found.loops.front().running_task == named(found, "runs").address);
        CHECK(named(found, "runs").loop == found.loops.front().address);
    }
}

TEST_CASE("of what is no task there is none") {
    for (const std::uint8_t minor : kMinors) {
        CAPTURE(minor);
        const Layout layout = layout_of(minor);
        TaskHeap heap(layout);
        // As a task, it has no coroutine; its state and its frames are not known.
        const RawTasks found = read(heap, {heap.future()});
        for (const RawTask& task : found.tasks) {
            CHECK(task.chain.frames.empty());
            CHECK(task.state == model::TaskState::kUnknown);
        }
    }
}

TEST_CASE("random memory ends") {
    for (const std::uint8_t minor : kMinors) {
        const Layout layout = layout_of(minor);
        for (std::uint64_t seed = 0; seed < 20; ++seed) {
            const HostileMemory memory(seed);
            WorkLimits limits(1 << 20, 100'000);
            const memory::PageCache pages(memory);
            TrioReader reader(pages, layout, limits);
            RawTasks found = reader.read(TaskHeap::walked({0x100000}));
            const CodeReader codes(pages, layout);
            reader.explain(found, codes);
        }
    }
}
