#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "base/work_limits.h"
#include "elf/module_map.h"
#include "memory/segment_memory.h"
#include "target/file_finder.h"

namespace pystack::target {

enum class ModuleStatus : unsigned char {
    kFound,
    kMissing,     ///< No file, or none that can be read.
    kMismatched,  ///< There is a file, and it is not the one that was mapped: it is not used for
                  ///< anything.
};

/// What became of the search for one module's file.
struct ModuleReport {
    elf::SharedPath path;  ///< As the core names it.
    bool deleted = false;
    RemoteRange range;
    ModuleStatus status = ModuleStatus::kMissing;
    std::optional<std::string> found_path;     ///< The file that is used, or the first one refused.
    std::optional<std::string> core_build_id;  ///< nullopt: cannot be known. Empty: it has none.
    std::optional<std::string> file_build_id;  ///< Of found_path. Empty: it has none.
    bool verified = false;                     ///< Found, and both build ids are known and equal.
};

/// The modules of a core with the files that were found for them.
struct CoreModules {
    std::vector<elf::Module>
        modules;  ///< As group_modules gives them; `image` is set where a file fits.
    std::vector<ModuleReport>
        reports;              ///< One for each module that is an ELF file, in the same order.
    std::size_t refused = 0;  ///< Modules beyond the limits.
};

/// Looks for the file of each module. `core_memory` holds what the core itself has; `main_program`
/// is the index of the module that FileSearch::executable is about; `rights` are those for paths
/// that the core names. What `limits` refuse is left out.
CoreModules open_modules(const memory::MemoryReader& core_memory, std::vector<elf::Module> modules,
                         std::optional<std::size_t> main_program, FileSearch search,
                         const files::FileRights& rights, WorkLimits& limits);

/// What the files say about the memory of their mappings, to be laid under what the core has. With
/// `written_pages_dumped` false, only what nobody can have written to: the file would not tell.
std::vector<memory::Region> file_regions(const std::vector<elf::Module>& modules,
                                         bool written_pages_dumped);

/// Whether the pages of a file mapping are surely those of the file: code and headers. Data may
/// have been written to and relocated before it became read-only.
bool is_never_written(const elf::Mapping& mapping);

}  // namespace pystack::target
