#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace pystack::symbols {

/// Whether the number is that of a character: below 0x110000 and no surrogate.
bool is_unicode(std::uint32_t code);

/// `code` is one for which is_unicode() holds.
void append_utf8(std::string& text, std::uint32_t code);

/// RFC 3492, to UTF-8, with '_' as the delimiter as Rust has it. nullopt for what is not valid, and
/// for names of more than some hundred characters.
std::optional<std::string> decode_punycode(std::string_view text);

}  // namespace pystack::symbols
