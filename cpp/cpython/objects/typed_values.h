#pragma once

#include <cstdint>
#include <optional>

#include "base/address.h"
#include "cpython/layout/layout.h"
#include "cpython/objects/value_types.h"
#include "memory/memory_reader.h"

namespace pystack::cpython {

/// Whether an object, which may be null, is of this kind.
bool is_a(TypeCache& types, RemoteAddr object, ValueKind kind);

/// The value of an object that may be of any type, or null; nullopt if it is no float, or cannot be
/// read.
std::optional<double> float_value(const memory::MemoryReader& memory, const Layout& layout,
                                  TypeCache& types, RemoteAddr object);
/// The same of an int that fits; a bool is none.
std::optional<std::int64_t> int_value(const memory::MemoryReader& memory, const Layout& layout,
                                      TypeCache& types, RemoteAddr object);

}  // namespace pystack::cpython
