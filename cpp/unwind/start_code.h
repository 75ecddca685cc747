#pragma once

#include <cstddef>
#include <span>

#include "base/address.h"
#include "modules/code_module.h"

namespace pystack::unwind {

/// Whether `code`, which a function would return to, ends the thread: what C libraries run threads
/// from, which never returns (musl's __clone).
bool ends_thread(std::span<const std::byte> code);

/// Whether an address lies in the code that a program begins with (`_start`), by the ELF header.
bool is_program_entry(const modules::CodeModule& module, RemoteAddr address);

}  // namespace pystack::unwind
