#include "cpython/tasks/task_reader.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <string>

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

template <class Test>
void for_each_version(Test test) {
    for (const std::uint8_t minor : kMinors) {
        for (const bool free_threaded : {false, true}) {
            constexpr std::uint8_t kFirstFreeThreaded = 13;
            if (free_threaded && minor < kFirstFreeThreaded) continue;
            CAPTURE(minor);
            CAPTURE(free_threaded);
            const Layout layout = layout_of(minor, free_threaded);
            TaskHeap heap(layout);
            test(heap);
        }
    }
}

RawTasks read(TaskHeap& heap, const std::vector<RemoteAddr>& tasks) {
    WorkLimits limits;
    TaskReader reader(heap.memory, heap.layout, limits, std::nullopt);
    RawTasks found = reader.read(TaskHeap::walked(heap.interpreter(tasks)));
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

TEST_CASE("the chain of a task ends at the future that it waits for") {
    for_each_version([](TaskHeap& heap) {
        const RemoteAddr future = heap.future();
        heap.add_callback(future, heap.typed(heap.memory.allocate(64), "function"));
        const RemoteAddr inner =
            heap.coroutine(State::kSuspended, heap.wrapper(future, "_asyncio.FutureIter"));
        const RemoteAddr middle = heap.coroutine(State::kSuspended, inner, "async_generator");
        const RemoteAddr outer =
            heap.coroutine(State::kSuspended, heap.wrapper(middle, "async_generator_asend"));
        const RemoteAddr task = heap.task(outer, "one", future);
        const RawTasks found = read(heap, {task});
        REQUIRE(found.tasks.size() == 1);
        const RawTask& one = found.tasks.front();
        CHECK(one.name == "one");
        CHECK(one.state == model::TaskState::kWaiting);
        CHECK(one.chain.frames.size() == 3);
        CHECK(one.chain.end == AwaitChain::End::kAwaited);
        CHECK(one.chain.awaited == future);
        REQUIRE(one.wait);
        CHECK(one.wait->kind == model::TaskWaitKind::kFuture);
        CHECK(found.problems.empty());
    });
}

TEST_CASE("states") {
    for_each_version([](TaskHeap& heap) {
        const RemoteAddr done = heap.future();
        const std::vector<RemoteAddr> tasks{
            heap.task(heap.coroutine(State::kCreated), "created"),
            heap.task(heap.coroutine(State::kRunning), "running"),
            heap.task(heap.coroutine(State::kFinished), "finished"),
            heap.task(heap.coroutine(State::kSuspended, done), "woken", done),
            heap.task(heap.coroutine(State::kSuspended), "between steps"),
            heap.task({}, "without a coroutine"),
        };
        const RawTasks found = read(heap, tasks);
        CHECK(found.tasks.size() == 4);
        CHECK(named(found, "created").state == model::TaskState::kCreated);
        CHECK(named(found, "running").state == model::TaskState::kRunning);
        CHECK(named(found, "woken").state == model::TaskState::kReady);
        CHECK(named(found, "between steps").state == model::TaskState::kReady);
        CHECK(named(found, "between steps").chain.end == AwaitChain::End::kYields);
    });
}

TEST_CASE("tasks await each other, in rings, too") {
    for_each_version([](TaskHeap& heap) {
        const RemoteAddr callback = heap.typed(heap.memory.allocate(64), "function");
        const RemoteAddr first = heap.coroutine(State::kSuspended, heap.future());
        const RemoteAddr second = heap.coroutine(State::kSuspended, heap.future());
        const RemoteAddr one = heap.task(first, "one");
        const RemoteAddr other = heap.task(second, "other", one);
        const std::uint64_t head = heap.layout.pyobject.struct_size;
        heap.memory.put(one + head + (TaskHeap::kCoroutineWord - 1) * 8, other);
        for (const RemoteAddr task : {one, other}) heap.add_callback(task, callback);
        heap.set_awaited(first, other);
        heap.set_awaited(second, one);
        const RawTasks found = read(heap, {one, other});
        REQUIRE(found.tasks.size() == 2);
        CHECK(named(found, "one").awaited_by == std::vector{other.value});
        CHECK(named(found, "other").awaited_by == std::vector{one.value});
        CHECK(named(found, "one").wait->kind == model::TaskWaitKind::kTask);
    });
}

TEST_CASE("a coroutine that awaits itself comes to an end") {
    for_each_version([](TaskHeap& heap) {
        const RemoteAddr first = heap.coroutine(State::kSuspended, heap.future());
        const RemoteAddr second = heap.coroutine(State::kSuspended, first);
        heap.set_awaited(first, second);
        const RemoteAddr wrapper = heap.wrapper({}, "coroutine_wrapper");
        heap.memory.put(wrapper + heap.layout.pyobject.struct_size, wrapper);
        const RawTasks found =
            read(heap, {heap.task(first, "ring"),
                        heap.task(heap.coroutine(State::kSuspended, wrapper), "wrapper")});
        CHECK(named(found, "ring").chain.end == AwaitChain::End::kRing);
        CHECK(named(found, "ring").chain.frames.size() < 10);
        CHECK(named(found, "wrapper").chain.end == AwaitChain::End::kRing);
    });
}

TEST_CASE("a chain without an end is cut") {
    const Layout layout = layout_of(13);
    TaskHeap heap(layout);
    RemoteAddr next = heap.future();
    for (std::size_t i = 0; i < AwaitChains::kMostFrames + 10; ++i)
        next = heap.coroutine(State::kSuspended, next);
    const RawTasks found = read(heap, {heap.task(next, "long")});
    REQUIRE(found.tasks.size() == 1);
    CHECK(found.tasks.front().chain.end == AwaitChain::End::kTooLong);
    CHECK(found.tasks.front().chain.frames.size() == AwaitChains::kMostFrames);
}

TEST_CASE("what is no task is counted and left out") {
    for_each_version([](TaskHeap& heap) {
        const RawTasks found = read(
            heap, {heap.task(heap.coroutine(State::kCreated), "one"), heap.number(3), {0xdead0}});
        CHECK(found.tasks.size() == 1);
        REQUIRE(found.problems.size() == 1);
        CHECK(found.problems.front() == "2 objects in the list of asyncio tasks could not be read");
    });
}

TEST_CASE("tasks of which none looks like a task are refused") {
    for_each_version([](TaskHeap& heap) {
        const RawTasks found = read(heap, {heap.task(heap.number(1), "no coroutine")});
        CHECK(found.tasks.empty());
        REQUIRE(found.problems.size() == 1);
        CHECK(found.problems.front().find("could not be recognized") != std::string::npos);
    });
}

TEST_CASE("tasks that do not fit are counted") {
    const Layout layout = layout_of(12);
    TaskHeap heap(layout);
    std::vector<RemoteAddr> tasks;
    for (int i = 0; i < 100; ++i)
        tasks.push_back(heap.task(heap.coroutine(State::kCreated), std::to_string(i)));
    WorkLimits limits(100 * 1024);
    TaskReader reader(heap.memory, layout, limits, std::nullopt);
    const RawTasks found = reader.read(TaskHeap::walked(heap.interpreter(tasks)));
    CHECK(!found.tasks.empty());
    REQUIRE(found.problems.size() == 1);
    CHECK(found.problems.front() == std::to_string(100 - found.tasks.size()) +
                                        " asyncio tasks were left out because of the memory limit");
}

TEST_CASE("a million tasks end at the limit of steps") {
    const Layout layout = layout_of(12);
    TaskHeap heap(layout);
    std::vector<RemoteAddr> tasks(1000, heap.task(heap.coroutine(State::kCreated), "one"));
    WorkLimits limits(WorkLimits::kDefaultBytes, 50'000);
    TaskReader reader(heap.memory, layout, limits, std::nullopt);
    const RawTasks found = reader.read(TaskHeap::walked(heap.interpreter(tasks)));
    REQUIRE(!found.problems.empty());
    CHECK(found.problems.front() == "the list of asyncio tasks is incomplete");
}

TEST_CASE("published lists that are rings beside their head come to an end") {
    for (const std::uint8_t minor : {14, 15}) {
        const Layout layout = layout_of(minor);
        TaskHeap heap(layout);
        const RemoteAddr interpreter = heap.interpreter({});
        const RemoteAddr thread = heap.memory.allocate(256);
        const RemoteAddr task = heap.memory.allocate(256);
        constexpr std::uint32_t kNode = 64;
        const AsyncioOffsets offsets{.task_size = 192,
                                     .task_name = 104,
                                     .task_coroutine = 96,
                                     .task_node = kNode,
                                     .task_awaited_by = 80,
                                     .task_awaited_by_is_set = 120,
                                     .ended_tasks = 0,
                                     .running_loop = 16,
                                     .running_task = 24,
                                     .tasks = 32};
        heap.memory.put(thread + offsets.tasks, task + kNode);
        heap.memory.put(task + kNode, task + kNode);
        WorkLimits limits;
        TaskLists lists(heap.memory, layout, limits, offsets);
        const TaskList list = lists.of_interpreter(interpreter, {thread});
        CHECK(list.is_cut);
        CHECK(list.tasks == std::vector{task});
    }
}

TEST_CASE("an asyncio that keeps its tasks elsewhere is a problem") {
    for_each_version([](TaskHeap& heap) {
        WorkLimits limits;
        TaskReader reader(heap.memory, heap.layout, limits, std::nullopt);
        const RawTasks found =
            reader.read(TaskHeap::walked(heap.interpreter({}, "somewhere_else")));
        REQUIRE(found.problems.size() == 1);
        CHECK(found.problems.front() == "asyncio tasks of this Python version cannot be read");
    });
}

TEST_CASE("memory of random words is no danger") {
    for (const std::uint8_t minor : kMinors) {
        const Layout layout = layout_of(minor);
        for (std::uint64_t seed = 0; seed < 20; ++seed) {
            const HostileMemory memory(seed);
            WorkLimits limits(1 << 20, 100'000);
            const memory::PageCache pages(memory);
            TaskReader reader(pages, layout, limits, std::nullopt);
            WalkedInterpreters walked = TaskHeap::walked({0x100000});
            walked.threads.push_back({.address = {0x100800}});
            RawTasks found = reader.read(walked);
            const CodeReader codes(pages, layout);
            reader.explain(found, codes);
        }
    }
}
