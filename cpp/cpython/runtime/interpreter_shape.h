#pragma once

#include "cpython/layout/layout.h"
#include "memory/memory_reader.h"

namespace pystack::cpython {

/// Follows the list of interpreters far enough to be sure that it is one: the first thread of the
/// first interpreter that has threads points back at it.
bool is_interpreter(const memory::MemoryReader& memory, const Layout& layout,
                    RemoteAddr interpreter);

/// Where the version is only a guess, the shape of one list could be met by chance (any two
/// structures that point at each other): `sys` and `builtins` of one of the interpreters must have
/// their dicts, too. The newest interpreter, which heads the list, may not have them yet.
bool has_interpreter_dicts(const memory::MemoryReader& memory, const Layout& layout,
                           RemoteAddr interpreter);

}  // namespace pystack::cpython
