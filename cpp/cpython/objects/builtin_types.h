#pragma once

#include "cpython/layout/layout.h"
#include "memory/memory_reader.h"

namespace pystack::cpython {

/// Whether `type` is the built-in `code`, or `dict`: by its name or, where that cannot be read, by
/// its shape. The types are in a file's writable data, which cores have; their names are in its
/// read-only data, which most cores leave to the file.
bool is_code_type(const memory::MemoryReader& reader, const Layout& layout, RemoteAddr type);
bool is_dict_type(const memory::MemoryReader& reader, const Layout& layout, RemoteAddr type);

}  // namespace pystack::cpython
