#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "base/address.h"
#include "cpython/layout/layout.h"
#include "cpython/objects/value_types.h"
#include "memory/memory_reader.h"

namespace pystack::cpython {

/// What the callbacks of futures are.
class Callbacks {
  public:
    Callbacks(const memory::MemoryReader& memory, const Layout& layout, TypeCache& types)
        : memory_(memory), layout_(layout), types_(types) {}

    /// The qualified name of a function, of a method's, or of the one that a functools.partial
    /// calls. Empty: it is none of them.
    std::string function_name(RemoteAddr callback);
    /// The qualified name of a function; empty if it is none.
    std::string qualified_name(RemoteAddr function);
    /// The objects that it works on: the contents of its closure, a method's `self`, a partial's
    /// arguments. At most some.
    std::vector<RemoteAddr> subjects(RemoteAddr callback);

  private:
    bool is_partial(RemoteAddr callback);
    RemoteAddr function_of(RemoteAddr callback);

    const memory::MemoryReader& memory_;
    const Layout& layout_;
    TypeCache& types_;
};

}  // namespace pystack::cpython
