#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "base/address.h"
#include "cpython/runtime/runtime_locator.h"
#include "target/target.h"

namespace pystack::cpython {

/// Where asyncio keeps the task that a thread runs, as it publishes it from 3.14
/// [Modules/_asynciomodule.c].
struct AsyncioOffsets {
    std::uint32_t running_task = 0;  ///< In a thread state: the Task, or null.
    std::uint32_t task_name = 0;     ///< In a Task: a str, or the int N of one named "Task-N".
};

/// nullopt where it is not published, or asyncio is not imported (yet).
std::optional<AsyncioOffsets> find_asyncio(const target::Target& target, const Runtime& runtime);

/// The name that a task with this object for a name has, and how many of the object's bytes, from
/// its beginning, say so. nullopt when it is neither a str nor an int, or could not be read.
struct TaskName {
    std::string text;
    std::size_t bytes = 0;
};
std::optional<TaskName> read_task_name(const memory::MemoryReader& memory, const Layout& layout,
                                       RemoteAddr name);

}  // namespace pystack::cpython
