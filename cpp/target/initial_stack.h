#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "elf/core_notes.h"
#include "memory/memory_reader.h"

namespace pystack::target {

/// The arguments that a process was started with, from what the kernel put on its stack: argc,
/// argv, environment and auxiliary vector, found by looking for the latter, whose contents a core's
/// notes repeat. nullopt when the stack is not there or makes no sense. Of a process that has
/// written over its arguments (as setproctitle does) the one text it has put there, as in its
/// cmdline file.
std::optional<std::vector<std::string>> read_arguments(const memory::MemoryReader& memory,
                                                       std::span<const elf::AuxEntry> auxv);

}  // namespace pystack::target
