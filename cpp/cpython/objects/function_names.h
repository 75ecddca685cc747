#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>

#include "base/address.h"
#include "cpython/layout/layout.h"
#include "memory/memory_reader.h"

namespace pystack::cpython {

/// By the address of a C function, what Python calls it: "builtins.sorted", "list.sort",
/// "collections.deque.__iter__".
using FunctionNames = std::unordered_map<RemoteAddr, std::string>;

/// Reads the names from the interpreter's own tables: of the functions in its modules, and of the
/// types that are in them or that objects in them have. They are there in every build, stripped or
/// not. A function that several types have gets all its names, up to three; one with more is left
/// out.
///
/// The target may run meanwhile: what it changes at that moment is missed, or leads to addresses
/// that are no functions.
FunctionNames read_function_names(const memory::MemoryReader& memory, const Layout& layout,
                                  std::span<const RemoteAddr> interpreters);

/// How many modules the interpreter has imported: with each there may be new names. nullopt when it
/// cannot be read.
std::optional<std::uint64_t> count_modules(const memory::MemoryReader& memory, const Layout& layout,
                                           RemoteAddr interpreter);

}  // namespace pystack::cpython
