#pragma once

#include <cstdint>
#include <optional>

#include "cpython/runtime/runtime_locator.h"
#include "target/target.h"

namespace pystack::cpython {

/// Where asyncio keeps its tasks, as it publishes it from 3.14 [Modules/_asynciomodule.c].
struct AsyncioOffsets {
    // In a Task:
    std::uint32_t task_size = 0;
    std::uint32_t task_name = 0;  ///< A str, or the int N of one named "Task-N".
    std::uint32_t task_coroutine = 0;
    std::uint32_t task_node = 0;               ///< In a list of tasks.
    std::uint32_t task_awaited_by = 0;         ///< A task, a set of tasks, or null.
    std::uint32_t task_awaited_by_is_set = 0;  ///< One byte.
    // In an interpreter state:
    std::uint32_t ended_tasks = 0;  ///< Head of the list of tasks whose thread has ended.
    // In a thread state:
    std::uint32_t running_loop = 0;  ///< The event loop, or null.
    std::uint32_t running_task = 0;  ///< The Task, or null.
    std::uint32_t tasks = 0;         ///< Head of the list of the thread's tasks.
};

/// nullopt where it is not published, or asyncio is not imported (yet).
std::optional<AsyncioOffsets> find_asyncio(const target::Target& target, const Runtime& runtime);

}  // namespace pystack::cpython
