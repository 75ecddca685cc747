#pragma once

#include <string>

#include "cpython/frames/code_reader.h"
#include "cpython/layout/layout.h"
#include "cpython/objects/value_types.h"
#include "cpython/sync/frame_objects.h"
#include "cpython/values/code_variables.h"
#include "memory/memory_reader.h"

namespace pystack::cpython {

/// Where a frame has an object: a variable that holds it ("lock"), an attribute of an instance that
/// a variable holds ("Account.lock", by the class of the instance), or a global variable.
class ObjectNames {
  public:
    ObjectNames(const memory::MemoryReader& memory, const Layout& layout, TypeCache& types)
        : memory_(memory), layout_(layout), types_(types) {}

    /// Escaped; empty if the frame has it in no such place.
    std::string find(RemoteAddr object, const Code& code, const RawFrame& frame,
                     const FrameObjects& objects);

    /// A str, escaped and cut; empty if it is none.
    std::string text(RemoteAddr str) const;

  private:
    struct Variable {
        std::string name;
        RemoteAddr value;
    };
    std::vector<Variable> variables(const Code& code, const RawFrame& frame,
                                    const FrameObjects& objects);
    std::string find_attribute(RemoteAddr object, RemoteAddr instance);
    std::string find_in_dict(RemoteAddr object, RemoteAddr dict);

    const memory::MemoryReader& memory_;
    const Layout& layout_;
    TypeCache& types_;
};

}  // namespace pystack::cpython
