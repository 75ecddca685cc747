#pragma once

#include <string_view>

#include "base/address.h"
#include "cpython/layout/layout.h"
#include "cpython/objects/value_types.h"
#include "memory/memory_reader.h"

namespace pystack::cpython {

/// Attributes of instances, in slots of their class or of their own.
class Attributes {
  public:
    /// All must outlive it.
    Attributes(const memory::MemoryReader& memory, const Layout& layout, TypeCache& types)
        : memory_(memory), layout_(layout), types_(types) {}

    /// Null: the object has no such attribute, or it could not be read. `name` is ASCII.
    RemoteAddr get(RemoteAddr object, std::string_view name);

  private:
    const memory::MemoryReader& memory_;
    const Layout& layout_;
    TypeCache& types_;
};

}  // namespace pystack::cpython
