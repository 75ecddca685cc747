#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

namespace pystack::cpython {

/// Says whether the handler at this code unit is that of a with block.
using IsWithHandler = std::function<bool(std::uint32_t unit)>;

/// The with blocks whose body executes the instruction at `unit`, innermost first: for each, the
/// slot of the value stack, counted from its bottom, that holds what the block exits. A block
/// counts from the instruction after `__enter__` has returned to the one before `__exit__` is
/// called.
///
/// 3.11+: from the table of handlers of the code object (co_exceptiontable). Damaged tables give
/// fewer slots.
std::vector<std::uint32_t> with_slots(std::span<const std::byte> exception_table,
                                      std::uint32_t unit, const IsWithHandler& is_with_handler);

/// Whether any handler of the table is that of a with block.
bool has_with_blocks(std::span<const std::byte> exception_table,
                     const IsWithHandler& is_with_handler);

/// Below 3.11: from the frame's own block stack, PyTryBlock[] [cpython/frameobject.h].
struct TryBlock {
    std::int32_t type = 0;
    std::int32_t handler = 0;  ///< As f_lasti counts.
    std::int32_t level = 0;    ///< Of the value stack, to which an exception unwinds it.
};
std::vector<std::uint32_t> with_slots(std::span<const TryBlock> blocks,
                                      const IsWithHandler& is_with_handler);

}  // namespace pystack::cpython
