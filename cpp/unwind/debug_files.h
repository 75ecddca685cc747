#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "elf/elf_image.h"
#include "unwind/code_module.h"
#include "unwind/elf_sections.h"

namespace pystack::unwind {

using FetchDebugFile =
    std::function<std::optional<std::string>(std::string_view build_id, std::string_view name)>;

struct DebugFileOptions {
    /// Roots of file systems to look in, in this order: the target's own ("/proc/PID/root") may
    /// have what the host's lacks. "" is the host's. None: separate debug files are not looked for.
    std::vector<std::string> roots = {""};
    /// Asked last, with a build id and the file that it is about, in words: the path of a debug
    /// file, perhaps after a download. Unset by default: nothing here ever uses the network by
    /// itself, whatever the environment says.
    FetchDebugFile fetch;
};

struct DebugFile {
    std::string path;
    std::shared_ptr<const elf::ElfImage> image;
};

/// The separate debug file of a module, where distributions put them: by build id, then by
/// .gnu_debuglink. Only a file that is proved to belong is given: same build id, or the checksum
/// that the link names.
std::optional<DebugFile> find_debug_file(const CodeModule& module, const ElfSections& sections,
                                         const DebugFileOptions& options);

/// The file that dwz moved the common parts of `debug_file` to. `name` and `build_id` (in hex) are
/// what .gnu_debugaltlink says.
std::optional<DebugFile> find_alternate_file(const std::string& debug_file, const std::string& name,
                                             const std::string& build_id,
                                             const DebugFileOptions& options);

/// The ELF file of symbols inside of .gnu_debugdata, unpacked; empty when there is none.
std::vector<std::byte> unpack_debug_data(const ElfSections& sections);

}  // namespace pystack::unwind
