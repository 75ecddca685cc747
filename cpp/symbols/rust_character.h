#pragma once

#include <cstdint>
#include <string>

namespace pystack::symbols {

/// A character as it stands between quotes in a program: control characters, quotes and backslashes
/// are escaped. `code` is one for which is_unicode() holds.
std::string rust_character(std::uint32_t code);

}  // namespace pystack::symbols
