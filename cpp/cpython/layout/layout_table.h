#pragma once

#include <string>

#include "base/result.h"
#include "cpython/layout/layout.h"

namespace pystack::cpython {

enum class Architecture : std::uint8_t { kX86_64, kAArch64 };

#if defined(__aarch64__)
inline constexpr Architecture kHostArchitecture = Architecture::kAArch64;
#else
inline constexpr Architecture kHostArchitecture = Architecture::kX86_64;
#endif

/// The layout of a released version as its headers have it (layouts.inc), with the named formats.
/// Whole for every version; from 3.13 on the target's own table is to be preferred
/// (debug_offsets.h), because the ends of the big structures move with patch levels and build
/// options. A row says where members are, not how large these few are: struct_size of
/// runtime_state, interpreter_state and thread_state is the smallest of all builds seen.
///
/// `debug` makes a difference below 3.8 only. kVersionUnsupported: a version out of range, a
/// pre-release (its structures are not those of the release, and nothing here can tell), or a
/// free-threaded 3.12.
Result<Layout> static_layout(PythonVersion version, bool free_threaded, bool debug,
                             Architecture architecture = kHostArchitecture);

/// The same for any micro version and release level of `version`: for a caller that has another
/// proof that a pre-release is shaped like the release.
Result<Layout> static_layout_of_minor(PythonVersion version, bool free_threaded, bool debug,
                                      Architecture architecture = kHostArchitecture);

/// Those that have a row and no table of their own, newest first.
std::vector<PythonVersion> versions_without_offset_table();

/// "3.6 to 3.15", for messages.
std::string supported_versions_text();

/// kVersionUnsupported with a sentence that names the version, `reason` and the supported ones.
Error unsupported_version(PythonVersion version, bool free_threaded, const char* reason);

}  // namespace pystack::cpython
