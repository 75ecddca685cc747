#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "modules/code_module.h"
#include "modules/elf_sections.h"

namespace pystack::symbols {

/// The function that an entry of the procedure linkage table jumps to, with "@plt" behind its name;
/// nullopt for other addresses. Found from the entry's own jump: linkers order these tables as they
/// like.
std::optional<std::string> plt_name(const modules::CodeModule& module,
                                    const modules::ElfSections& sections,
                                    std::uint64_t file_address);

}  // namespace pystack::symbols
