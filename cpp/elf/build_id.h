#pragma once

#include <cstdint>
#include <string>

#include "base/byte_reader.h"

namespace pystack::elf {

/// Longer ones are none: the linker makes 20 bytes.
inline constexpr std::uint64_t kMaxBuildIdBytes = 64;

/// The GNU build ID in the bytes of a note segment or section, as lower-case hex; empty if there is
/// none. Notes are padded to 4 bytes even in 64-bit files, unless the segment's alignment is 8.
std::string find_build_id(ByteSpan notes, std::uint64_t alignment = 4);

}  // namespace pystack::elf
