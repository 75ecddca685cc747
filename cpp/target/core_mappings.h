#pragma once

#include <optional>
#include <vector>

#include "elf/core_file.h"
#include "elf/module_map.h"

namespace pystack::target {

/// The mappings of the process at the time of the core, by rising address and disjoint: access
/// rights from the LOAD segments, files from `files` (in any order: the NT_FILE note, if there is
/// one), "[vdso]" and "[stack]" from the auxiliary vector. Where cores of gdb have no segment for a
/// file mapping, it is taken for readable data: the caller corrects that from the file. Inodes and
/// devices are 0, as cores do not have them.
std::vector<elf::Mapping> mappings_of(const elf::CoreFile& core,
                                      std::vector<elf::CoreFileMapping> files);

}  // namespace pystack::target
