#include "symbols/rust_character.h"

#include <array>
#include <cstdio>

#include "symbols/punycode.h"

namespace pystack::symbols {

std::string rust_character(std::uint32_t code) {
    switch (code) {
        case '\t':
            return "\\t";
        case '\n':
            return "\\n";
        case '\r':
            return "\\r";
        case '\'':
            return "\\'";
        case '\\':
            return "\\\\";
        default:
            break;
    }
    const bool is_control = code < 0x20 || (code >= 0x7f && code < 0xa0);
    if (is_control) {
        std::array<char, 16> escape;
        std::snprintf(escape.data(), escape.size(), "\\u{%x}", code);
        return escape.data();
    }
    std::string text;
    append_utf8(text, code);
    return text;
}

}  // namespace pystack::symbols
