#pragma once

#include <cstdint>
#include <memory>
#include <unordered_map>
#include <vector>

#include "cpython/frames/code_reader.h"
#include "cpython/frames/frame_format.h"
#include "cpython/layout/layout.h"
#include "cpython/objects/value_types.h"
#include "memory/memory_reader.h"

namespace pystack::cpython {

/// The objects that frames refer to: in their variables, on their value stacks, and those that they
/// are inside of with blocks of. Not thread-safe.
class FrameObjects {
  public:
    /// `codes` reads code objects of the same target. Both must outlive this.
    FrameObjects(const Layout& layout, CodeReader& codes) : layout_(layout), codes_(codes) {}

    /// Reads how many words the frames of these code objects have, and their with blocks. The
    /// pointers must stay valid, as those of CodeReader do. Other code objects count as having
    /// none.
    void load(const memory::MemoryReader& memory, const Code& code);

    bool has_with_blocks(const Code& code) const;

    /// The bytes of a frame that the functions below read.
    RemoteRange range(const memory::MemoryReader& memory, const Code& code,
                      const RawFrame& frame) const;

    /// What the with blocks exit whose bodies the frame is inside of, innermost first: the context
    /// manager, or its bound `__exit__` (below 3.14).
    std::vector<RemoteAddr> with_objects(const memory::MemoryReader& memory, const Code& code,
                                         const RawFrame& frame);

    /// What all words hold, variables first; on the value stack also what is stale.
    std::vector<RemoteAddr> all(const memory::MemoryReader& memory, const Code& code,
                                const RawFrame& frame) const;
    /// What the variable holds whose word has this index, or the cell that is there; null if it
    /// holds nothing.
    RemoteAddr variable(const memory::MemoryReader& memory, const Code& code, const RawFrame& frame,
                        std::uint32_t index, TypeCache& types) const;

    /// What the first argument holds, also if inner functions use it: `self` in a method.
    RemoteAddr first_argument(const memory::MemoryReader& memory, const Code& code,
                              const RawFrame& frame, TypeCache& types) const;

  private:
    struct Shape {
        std::uint32_t variables = 0;  ///< Words; 3.11+.
        std::uint32_t stack = 0;      ///< Words of the value stack, at most.
        std::vector<std::byte> exception_table;
        std::vector<std::uint32_t> with_handlers;  ///< In units of f_lasti; sorted.
    };

    Shape read_shape(const memory::MemoryReader& memory, const Code& code) const;
    void find_with_handlers(const memory::MemoryReader& memory, const Code& code,
                            Shape& shape) const;
    const Shape* shape_of(const Code& code) const;
    RemoteAddr object_at(const memory::MemoryReader& memory, RemoteAddr word) const;
    RemoteAddr held_by(const memory::MemoryReader& memory, RemoteAddr value,
                       TypeCache& types) const;
    RemoteAddr word_of(const memory::MemoryReader& memory, const Code& code, const RawFrame& frame,
                       std::uint32_t index) const;
    /// Where the value stack begins; null if it cannot be read.
    RemoteAddr stack_of(const memory::MemoryReader& memory, const Shape& shape,
                        const RawFrame& frame) const;
    std::vector<std::uint32_t> slots(const memory::MemoryReader& memory, const Shape& shape,
                                     const Code& code, const RawFrame& frame);

    const Layout layout_;
    CodeReader& codes_;
    std::unordered_map<const Code*, Shape> shapes_;
};

}  // namespace pystack::cpython
