#pragma once

#include <cstdint>
#include <string_view>
#include <unordered_map>

#include "cpython/objects/value_types.h"
#include "cpython/sync/frame_objects.h"
#include "memory/memory_reader.h"
#include "snapshot/raw_snapshot.h"

namespace pystack::snapshot {

/// A local variable of a function that some threads are in. In a copied stack it is one read per
/// thread: the names of variables are looked up before.
class FrameVariable {
  public:
    struct Wanted {
        std::string_view file;  ///< The end of its path.
        std::string_view function;
        std::string_view variable;
    };

    /// The memory and the code objects must outlive it, the texts too.
    FrameVariable(const memory::MemoryReader& memory, const cpython::Layout& layout,
                  cpython::CodeReader& codes, const Wanted& wanted)
        : memory_(memory),
          layout_(layout),
          wanted_(wanted),
          types_(memory, layout),
          objects_(layout, codes) {}

    /// Looks at the code of the threads' frames, which have to be loaded.
    void find_code(const RawSnapshot& raw);
    /// The object in the variable, by index into RawSnapshot::threads; of the innermost such
    /// function of each thread. Of threads that do not run meanwhile.
    std::unordered_map<std::size_t, RemoteAddr> read(const RawSnapshot& raw);

  private:
    const memory::MemoryReader& memory_;
    const cpython::Layout layout_;
    const Wanted wanted_;
    cpython::TypeCache types_;
    cpython::FrameObjects objects_;
    std::unordered_map<RemoteAddr, std::uint32_t> variables_;  ///< By code object.
};

}  // namespace pystack::snapshot
