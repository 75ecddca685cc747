#pragma once

#include <optional>
#include <string_view>

#include "cpython/objects/value_types.h"

namespace pystack::cpython {

/// The kind of a built-in type, or of one of an extension module.
std::optional<ValueKind> kind_of_type(std::string_view tp_name, bool is_heap_type);

/// A class of the standard library that is written in Python.
struct KnownClass {
    std::string_view name;
    std::string_view module;
    ValueKind kind;
};
/// Null if it is not among those that are known.
const KnownClass* known_class(std::string_view name, std::string_view module);
/// Whether any of them has this name, so that it is worth reading the module of the class.
bool is_known_class_name(std::string_view name);

}  // namespace pystack::cpython
