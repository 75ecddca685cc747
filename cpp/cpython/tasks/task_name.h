#pragma once

#include <cstddef>
#include <optional>
#include <string>

#include "base/address.h"
#include "cpython/layout/layout.h"
#include "memory/memory_reader.h"

namespace pystack::cpython {

/// The name that a task with this object for a name has, and how many of the object's bytes, from
/// its beginning, say so. nullopt when it is neither a str nor an int, or could not be read.
struct TaskName {
    std::string text;
    std::size_t bytes = 0;
};
std::optional<TaskName> read_task_name(const memory::MemoryReader& memory, const Layout& layout,
                                       RemoteAddr name);

}  // namespace pystack::cpython
