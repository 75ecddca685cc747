#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "elf/elf_image.h"
#include "elf/module_map.h"
#include "memory/memory_reader.h"

namespace pystack::target {

/// What a core's own memory says about which file a module was: its first page is in most cores.
struct ModuleIdentity {
    std::vector<std::byte> headers;  ///< ELF header and program headers; empty: not in the core.
    bool is_elf = false;             ///< Never true without headers.
    std::optional<std::string> build_id;  ///< Empty: it has none. nullopt: cannot be known.
};

/// `core_memory` must hold nothing but what the core itself has.
ModuleIdentity identify(const memory::MemoryReader& core_memory, const elf::Module& module);

enum class Match : unsigned char {
    kSame,    ///< The build ids are equal.
    kLikely,  ///< There is no build id to compare, and nothing else speaks against it.
    kDifferent,
};

Match match(const ModuleIdentity& identity, const elf::ElfImage& image);

}  // namespace pystack::target
