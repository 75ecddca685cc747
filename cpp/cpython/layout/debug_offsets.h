#pragma once

#include <cstddef>
#include <optional>
#include <span>

#include "base/result.h"
#include "cpython/layout/layout.h"
#include "cpython/layout/layout_table.h"

namespace pystack::cpython {

/// The first 24 bytes of `_Py_DebugOffsets`, the same in every version since 3.13.
struct DebugOffsetsHeader {
    PythonVersion version;
    bool free_threaded = false;
};

inline constexpr std::size_t kDebugOffsetsHeaderSize = 24;
/// Bytes to read for layout_from_debug_offsets: the table of 3.15, the largest known.
inline constexpr std::size_t kDebugOffsetsMaxSize = 888;

/// The header at the start of `bytes`; nullopt unless the cookie is there and what follows it can
/// be true. Good enough to search memory with. A version newer than we know is still a header.
std::optional<DebugOffsetsHeader> parse_debug_offsets_header(std::span<const std::byte> bytes);

/// The layout of the interpreter whose `_Py_DebugOffsets` starts `table`, checked (layout_check.h).
///
/// What the table says goes first. Fields that it lacks come from the generated row of that minor
/// version: as they are where the table agrees with the row around them, moved along where the
/// fields on both sides of them are displaced by the same distance, and absent otherwise. Debug
/// builds need no care: since 3.8 they differ only in places that the table gives.
///
/// `table` may be longer than the version's table. kVersionUnsupported: a version that is not
/// known, or a pre-release whose table is not the one of the release in every size (and, for the
/// structures whose size depends on build options, every offset). kOffsetsRejected: not a table,
/// cut short, or `what` cannot be.
Result<Layout> layout_from_debug_offsets(std::span<const std::byte> table,
                                         Architecture architecture = kHostArchitecture);

}  // namespace pystack::cpython
