#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace pystack::symbols {

/// Demangles rustc's symbols: the v0 scheme (`_R...`, Rust RFC 2603) and the legacy one
/// (`_ZN...17h<hash>E`), without crate hashes. nullopt for other symbols, and for what is cut or
/// longer than any real name.
std::optional<std::string> demangle_rust(std::string_view symbol);

/// Without generic arguments: `<alloc::vec::Vec<u8> as core::fmt::Debug>::fmt` loses its `<u8>`.
std::string shorten_rust(std::string_view name);

}  // namespace pystack::symbols
