#include "snapshot/task_circles.h"

#include <doctest/doctest.h>

#include <cstdint>
#include <vector>

using namespace pystack;
using namespace pystack::snapshot;
using model::Task;
using model::TaskWaitKind;

namespace {

using Circles = std::vector<std::vector<std::uint64_t>>;

/// Waits for the lock that the other one holds.
Task taker(std::uint64_t id, std::uint64_t holder) {
    return {.id = id,
            .waits_for = model::TaskWait{.kind = TaskWaitKind::kLock, .holders = {holder}}};
}

Task waiter(std::uint64_t id, TaskWaitKind kind, std::uint64_t object = 0) {
    return {.id = id, .waits_for = model::TaskWait{.kind = kind, .object = object}};
}

Task awaited(Task task, std::uint64_t by) {
    task.awaited_by = {by};
    return task;
}

Task timed(Task task) {
    task.waits_for->may_time_out = true;
    return task;
}

}  // namespace

TEST_CASE("tasks that hold what the next one wants are a circle") {
    CHECK(find_task_deadlocks({}).empty());
    CHECK(find_task_deadlocks({taker(1, 2), {.id = 2}}).empty());
    CHECK(find_task_deadlocks({taker(1, 2), taker(2, 1)}) == Circles{{1, 2}});
    CHECK(find_task_deadlocks({taker(1, 1)}) == Circles{{1}});
    // The first waits for the circle of the others.
    CHECK(find_task_deadlocks({taker(1, 2), taker(2, 3), taker(3, 4), taker(4, 2)}) ==
          Circles{{2, 3, 4}});
    CHECK(find_task_deadlocks({taker(1, 2), taker(2, 1), taker(3, 4), taker(4, 3)}) ==
          Circles{{1, 2}, {3, 4}});
}

TEST_CASE("a task waits for the one that it awaits, and for all that it gathers") {
    CHECK(find_task_deadlocks({waiter(1, TaskWaitKind::kTask, 2), taker(2, 1)}) == Circles{{1, 2}});
    CHECK(find_task_deadlocks({waiter(1, TaskWaitKind::kGather), awaited({.id = 2}, 1),
                               awaited(taker(3, 1), 1)}) == Circles{{1, 3}});
    // wait() may go on with the first that ends.
    CHECK(find_task_deadlocks({waiter(1, TaskWaitKind::kWait), awaited(taker(2, 1), 1)}).empty());
}

TEST_CASE("nobody is in a circle that others or time may end") {
    Task two_holders = taker(1, 2);
    two_holders.waits_for->holders.push_back(3);
    CHECK(find_task_deadlocks({two_holders, taker(2, 1)}).empty());
    CHECK(find_task_deadlocks({timed(taker(1, 2)), taker(2, 1)}).empty());
    // Who awaits it cancels it.
    const Task impatient = timed(waiter(3, TaskWaitKind::kWait));
    CHECK(find_task_deadlocks({taker(1, 2), awaited(taker(2, 1), 3), impatient}).empty());
    Task of_trio = taker(1, 2);
    of_trio.library = model::TaskLibrary::kTrio;
    CHECK(find_task_deadlocks({of_trio, taker(2, 1)}).empty());
    CHECK(find_task_deadlocks({taker(1, 7), taker(2, 1)}).empty());
}

TEST_CASE("many tasks in a row and all in one circle take no time") {
    std::vector<Task> tasks;
    constexpr std::uint64_t kMany = 50'000;
    for (std::uint64_t id = 1; id <= kMany; ++id) tasks.push_back(taker(id, id % kMany + 1));
    const Circles circles = find_task_deadlocks(tasks);
    REQUIRE(circles.size() == 1);
    CHECK(circles[0].size() == kMany);
    for (Task& task : tasks) task.waits_for->holders = {kMany};
    CHECK(find_task_deadlocks(tasks) == Circles{{kMany}});
}
