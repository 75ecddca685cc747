#pragma once

#include <span>
#include <string>
#include <vector>

#include "elf/core_notes.h"
#include "memory/memory_reader.h"

namespace pystack::target {

/// What an NT_FILE note would say of the program and its libraries, for cores without one: from the
/// dynamic linker's list of loaded objects and the ELF headers in memory. `program` is the path of
/// the main program, which that list leaves out. As much as can be read; empty for a core that does
/// not hold these pages.
std::vector<elf::CoreFileMapping> files_from_link_map(const memory::MemoryReader& memory,
                                                      std::span<const elf::AuxEntry> auxv,
                                                      const std::string& program);

}  // namespace pystack::target
