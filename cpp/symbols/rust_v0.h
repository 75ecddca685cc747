#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace pystack::symbols {

/// Longer symbols are not demangled; real ones stay far below.
inline constexpr std::size_t kMaxRustSymbol = 1 << 16;

/// Demangles what follows "_R" in a symbol of the v0 scheme (Rust RFC 2603). Time and size of the
/// result are bounded: back references make it easy to ask for gigabytes.
std::optional<std::string> demangle_rust_v0(std::string_view mangled);

}  // namespace pystack::symbols
