#pragma once

#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "base/address.h"
#include "base/result.h"
#include "cpython/layout/layout.h"
#include "cpython/objects/dict_objects.h"
#include "memory/memory_reader.h"

namespace pystack::cpython {

/// The attributes that instances have of their own, wherever this version keeps them: a dict, or
/// values before or behind the object under the keys of the class. nullopt for an object that has
/// none (yet). Slots and the attributes of the class are not among them.
std::vector<Result<std::optional<DictTable>>> read_attribute_tables(
    const memory::MemoryReader& reader, const Layout& layout, std::span<const RemoteAddr> objects);

/// One of these attributes, which has an ASCII name; nullopt when the object does not have it.
Result<std::optional<RemoteAddr>> instance_attribute(const memory::MemoryReader& reader,
                                                     const Layout& layout, RemoteAddr object,
                                                     std::string_view name);

/// The same attribute of many objects, with about as many system calls as of one.
std::vector<Result<std::optional<RemoteAddr>>> instance_attributes(
    const memory::MemoryReader& reader, const Layout& layout, std::span<const RemoteAddr> objects,
    std::string_view name);

/// The dict of a module object.
Result<RemoteAddr> module_dict(const memory::MemoryReader& reader, const Layout& layout,
                               RemoteAddr module);

/// That of a module in sys.modules of an interpreter; nullopt: nobody has imported it.
Result<std::optional<RemoteAddr>> imported_module_dict(const memory::MemoryReader& reader,
                                                       const Layout& layout, RemoteAddr interpreter,
                                                       std::string_view name);

}  // namespace pystack::cpython
