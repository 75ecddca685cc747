#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace pystack::cpython {

/// Whether repr() of a str shows the character as it is (str.isprintable), by one version of
/// Unicode's tables: see nonprintable.inc. Control characters, line and paragraph separators, bidi
/// marks, surrogates and unassigned code points are not.
bool is_printable(std::uint32_t code_point);

/// repr() of a str, from UTF-8 in which surrogates have their three-byte form. Bytes that are no
/// UTF-8 are written as such ("\xff").
void append_str(std::string& out, std::string_view utf8);
/// repr() of a bytes.
void append_bytes(std::string& out, std::span<const std::byte> bytes);
/// A name, without quotes: only what must not reach a terminal is escaped.
void append_name(std::string& out, std::string_view utf8);
std::string escaped_name(std::string_view utf8);

}  // namespace pystack::cpython
