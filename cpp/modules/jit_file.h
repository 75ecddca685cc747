#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "base/address.h"
#include "base/work_limits.h"
#include "memory/memory_reader.h"
#include "modules/code_module.h"

namespace pystack::modules {

/// How modules are called that are ELF files in the target's memory, made there by a compiler.
inline constexpr const char* kJitPath = "[jit]";

/// An ELF file in the target's memory, and where the code is that it describes. Its sections name
/// the addresses that they were loaded at; the code is there, not in the file.
struct JitFile {
    RemoteRange file;
    std::vector<RemoteRange> code;

    bool operator==(const JitFile&) const = default;
};

/// nullopt if `file` is not such a file.
std::optional<JitFile> find_jit_code(const memory::MemoryReader& memory, RemoteRange file);

/// The file, with what it describes, as a module whose addresses are those of the target. Null if
/// another file is there by now, and if `limits` refuse the copy.
std::shared_ptr<const CodeModule> load_jit_file(const memory::MemoryReader& memory,
                                                const JitFile& jit, WorkLimits& limits);

}  // namespace pystack::modules
