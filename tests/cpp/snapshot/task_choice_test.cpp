#include "snapshot/task_choice.h"

#include <doctest/doctest.h>

#include <vector>

using namespace pystack;
using namespace pystack::snapshot;

namespace {

cpython::RawTask task_at(std::uint64_t code, model::TaskState state = model::TaskState::kWaiting) {
    cpython::RawTask task{.state = state};
    if (code != 0) task.chain.frames.push_back({.frame = {.code = {code}}});
    return task;
}

}  // namespace

TEST_CASE("one of each place comes before a second one") {
    const std::vector<cpython::RawTask> tasks{task_at(1), task_at(1), task_at(1),
                                              task_at(2), task_at(2), task_at(3)};
    const TaskChoice choice = choose_tasks(tasks, 4);
    CHECK(choice.chosen == std::vector<std::size_t>{0, 3, 5, 1});
    CHECK(choice.left_out == 2);
    CHECK(choose_tasks(tasks, 100).left_out == 0);
    CHECK(choose_tasks(tasks, 100).chosen.size() == tasks.size());
}

TEST_CASE("tasks without suspended frames are not counted") {
    const std::vector<cpython::RawTask> tasks{task_at(0), task_at(1, model::TaskState::kRunning),
                                              task_at(1)};
    const TaskChoice choice = choose_tasks(tasks, 1);
    CHECK(choice.chosen == std::vector<std::size_t>{2});
    CHECK(choice.left_out == 0);
}
