#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "base/address.h"
#include "cpython/layout/layout.h"
#include "memory/memory_reader.h"

namespace pystack::cpython {

/// A C function and what Python calls it, without the name of its type or module: "sort",
/// "__getitem__".
struct NamedFunction {
    RemoteAddr address;
    std::string name;
};

/// A table of PyMethodDef, up to its end.
std::vector<NamedFunction> read_method_table(const memory::MemoryReader& reader, RemoteAddr table);

/// What a type object says of C functions.
struct TypeFunctions {
    RemoteAddr base;
    std::vector<NamedFunction> methods;    ///< tp_methods: of this very type.
    std::vector<NamedFunction> accessors;  ///< tp_getset, likewise.
    std::vector<RemoteAddr> slots;         ///< As slot_name(i); null where there is none. Inherited
                                           ///< ones are there as well.
};

TypeFunctions read_type_functions(const memory::MemoryReader& reader, const Layout& layout,
                                  RemoteAddr type);

/// The name of the special method that goes through TypeFunctions::slots[i]; that of the slot
/// itself where there is no such method, or several.
const char* slot_name(std::size_t i);

}  // namespace pystack::cpython
