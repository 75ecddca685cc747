#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/work_limits.h"
#include "cpython/layout/layout.h"
#include "elf/module_map.h"
#include "memory/memory_reader.h"
#include "target/target.h"

namespace pystack::cpython {

/// Whether an interpreter has imported greenlet.
bool has_greenlet(const memory::MemoryReader& memory, const Layout& layout, RemoteAddr interpreter);

/// Where the greenlets of a process are. The package greenlet (2.0 and later) has no list of them:
/// a greenlet has a C++ object (`pimpl`), whose table of virtual functions is in the library, and
/// which points back to the greenlet [src/greenlet/TGreenlet.hpp]. Such pairs are searched for in
/// all memory that programs write to.
struct FoundGreenlets {
    std::vector<RemoteAddr> objects;  ///< The C++ objects, each once.
    bool is_cut = false;              ///< There was more memory than is searched.
};

FoundGreenlets search_greenlets(const memory::MemoryReader& memory, const Layout& layout,
                                std::span<const elf::Mapping> mappings,
                                std::span<const elf::Module> modules, const WorkLimits& limits);

/// The greenlet of a C++ object; null if it is none (any more).
RemoteAddr greenlet_of(const memory::MemoryReader& memory, const Layout& layout, RemoteAddr object);

}  // namespace pystack::cpython
