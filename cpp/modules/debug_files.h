#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/work_limits.h"
#include "elf/elf_image.h"
#include "files/file_opener.h"
#include "modules/code_module.h"
#include "modules/elf_sections.h"

namespace pystack::modules {

using FetchDebugFile =
    std::function<std::optional<std::string>(std::string_view build_id, std::string_view name)>;

/// The debug files of this machine, opened with the caller's rights: only what lies in the folder
/// for them, wherever the names that a target chose may lead.
std::shared_ptr<const files::FileOpener> own_debug_folder();

struct DebugFileOptions {
    /// The files of the target (its own root may have what this machine's lacks), and those of this
    /// machine, in the order in which they are asked. None: separate debug files are not looked
    /// for.
    std::vector<std::shared_ptr<const files::FileOpener>> roots = {own_debug_folder()};
    /// Asked last, with a build id and the file that it is about, in words: the path of a debug
    /// file, perhaps after a download. Unset by default: nothing here ever uses the network by
    /// itself, whatever the environment says.
    FetchDebugFile fetch;
    /// What reading the files may cost. They are the target's or may be, so their content is.
    std::shared_ptr<WorkLimits> limits = std::make_shared<WorkLimits>();
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

/// The ELF file of symbols inside of .gnu_debugdata, unpacked; empty when there is none, or it
/// would get larger than any real one or than the limits allow.
std::vector<std::byte> unpack_debug_data(const ElfSections& sections, WorkLimits& limits);

}  // namespace pystack::modules
