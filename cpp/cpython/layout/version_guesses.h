#pragma once

#include <cstddef>
#include <span>
#include <string_view>
#include <vector>

#include "cpython/layout/layout.h"
#include "elf/module_map.h"
#include "memory/memory_reader.h"
#include "target/target.h"

namespace pystack::cpython {

/// Whether a path is named like `python3.8` or `libpython3.8.so.1.0`, and not like an extension
/// module (`_heapq.cpython-38.so`).
bool is_interpreter_name(std::string_view path);
/// Whether a file with such a name is mapped.
bool has_interpreter_file(const target::Target& target);

/// The versions below the offset tables that data of an interpreter may say. PY_VERSION is a string
/// in the read-only data [Python/getversion.c], of its own or, where the linker has merged it, the
/// end of another. Libraries linked into the same file have such strings too, so all that CPython
/// can be are returned.
std::vector<PythonVersion> versions_in(std::span<const std::byte> bytes);

/// Which versions a file's interpreter may be of. Best guess first: Py_Version (3.11+), then
/// version strings that agree with the file's name, then the other strings, then the name alone,
/// then every version below the offset tables. Later ones are found by their table or not at all:
/// one that was rejected must not be read by the row of a release after all.
std::vector<PythonVersion> possible_versions(const memory::MemoryReader& memory,
                                             const elf::Module& module);

}  // namespace pystack::cpython
