#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "cpython/layout/layout.h"
#include "model/snapshot.h"

namespace pystack::cpython {

/// The source position of the instruction at `instruction_offset_bytes` of a code object, as the
/// interpreter itself would give it: `line` equals f_lineno, and with kLocations311 all four
/// members equal co_positions(). The older formats know lines only. Everything is absent where the
/// table says that the instruction has no position, or where it ends (kLocations311, kLineTable310)
/// before the instruction.
///
/// A negative offset means "not started" and gives `first_line`, as in PyCode_Addr2Line.
///
/// Pure and safe on any bytes: one pass over the table, no read outside it, and a line that a table
/// can only reach by being corrupt (negative, or past 32 bits) is absent.
model::SourcePosition position_at(LineTableFormat format, std::span<const std::byte> table,
                                  std::int32_t first_line, std::int64_t instruction_offset_bytes);

}  // namespace pystack::cpython
