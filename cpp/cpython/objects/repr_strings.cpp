#include "cpython/objects/repr_strings.h"

#include <algorithm>
#include <iterator>

namespace pystack::cpython {

namespace {

constexpr std::uint32_t kMaxCodePoint = 0x10ffff;

struct CodePoints {
    std::uint32_t first;
    std::uint32_t last;
};

constexpr CodePoints kNonprintable[] = {
#include "cpython/objects/nonprintable.inc"
};

/// Takes one code point off `text`; or, where it is no UTF-8, one byte, with `valid` false.
std::uint32_t take(std::string_view& text, bool& valid) {
    const auto byte = [&text](std::size_t i) {
        return static_cast<std::uint32_t>(static_cast<unsigned char>(text[i]));
    };
    const std::uint32_t lead = byte(0);
    valid = true;
    const std::size_t size = lead < 0x80   ? 1
                             : lead < 0xc0 ? 0
                             : lead < 0xe0 ? 2
                             : lead < 0xf0 ? 3
                             : lead < 0xf8 ? 4
                                           : 0;
    std::uint32_t code_point = size <= 1 ? lead : lead & (0xffu >> (size + 1));
    bool whole = size != 0 && size <= text.size();
    for (std::size_t i = 1; whole && i < size; ++i) {
        whole = (byte(i) & 0xc0) == 0x80;
        code_point = code_point << 6 | (byte(i) & 0x3f);
    }
    // The shortest form only, as everybody else who reads the output will insist on.
    constexpr std::uint32_t kLeast[] = {0, 0, 0x80, 0x800, 0x10000};
    if (!whole || code_point < kLeast[size] || code_point > kMaxCodePoint) {
        valid = false;
        text.remove_prefix(1);
        return lead;
    }
    text.remove_prefix(size);
    return code_point;
}

void append_hex(std::string& out, std::uint32_t value, int digits) {
    for (int shift = 4 * (digits - 1); shift >= 0; shift -= 4) {
        out += "0123456789abcdef"[(value >> shift) & 0xf];
    }
}

void append_escape(std::string& out, std::uint32_t code_point) {
    switch (code_point) {
        case '\t':
            out += "\\t";
            return;
        case '\n':
            out += "\\n";
            return;
        case '\r':
            out += "\\r";
            return;
        default:
            break;
    }
    if (code_point < 0x100) {
        out += "\\x";
        append_hex(out, code_point, 2);
    } else if (code_point < 0x10000) {
        out += "\\u";
        append_hex(out, code_point, 4);
    } else {
        out += "\\U";
        append_hex(out, code_point, 8);
    }
}

/// The quote that repr() takes: the single one unless only that is in the text.
char quote_for(bool has_single, bool has_double) {
    return has_single && !has_double ? '"' : '\'';
}

void append_text(std::string& out, std::string_view text, char quote) {
    const auto is_plain = [quote](char c) {
        return c >= 0x20 && c < 0x7f && c != quote && c != '\\';
    };
    while (!text.empty()) {
        const auto plain_end = std::find_if_not(text.begin(), text.end(), is_plain);
        const auto plain = static_cast<std::size_t>(plain_end - text.begin());
        out += text.substr(0, plain);
        text.remove_prefix(plain);
        if (text.empty()) return;
        const std::string_view before = text;
        bool valid = true;
        const std::uint32_t code_point = take(text, valid);
        if (quote != '\0' &&
            (code_point == static_cast<unsigned char>(quote) || code_point == '\\')) {
            out += '\\';
            out += static_cast<char>(code_point);
        } else if (valid && is_printable(code_point)) {
            out += before.substr(0, before.size() - text.size());
        } else {
            append_escape(out, code_point);
        }
    }
}

}  // namespace

bool is_printable(std::uint32_t code_point) {
    if (code_point < 0x7f) return code_point >= 0x20;
    const auto* range = std::upper_bound(
        std::begin(kNonprintable), std::end(kNonprintable), code_point,
        [](std::uint32_t wanted, const CodePoints& candidate) { return wanted < candidate.first; });
    return range == std::begin(kNonprintable) || code_point > std::prev(range)->last;
}

void append_str(std::string& out, std::string_view utf8) {
    const char quote = quote_for(utf8.find('\'') != std::string_view::npos,
                                 utf8.find('"') != std::string_view::npos);
    out += quote;
    append_text(out, utf8, quote);
    out += quote;
}

void append_bytes(std::string& out, std::span<const std::byte> bytes) {
    const auto has = [&](char wanted) {
        return std::find(bytes.begin(), bytes.end(), static_cast<std::byte>(wanted)) != bytes.end();
    };
    const char quote = quote_for(has('\''), has('"'));
    out += 'b';
    out += quote;
    for (const std::byte byte : bytes) {
        const auto value = static_cast<std::uint32_t>(byte);
        if (value == static_cast<unsigned char>(quote) || value == '\\') {
            out += '\\';
            out += static_cast<char>(value);
        } else if (value >= 0x20 && value < 0x7f) {
            out += static_cast<char>(value);
        } else {
            append_escape(out, value);
        }
    }
    out += quote;
}

void append_name(std::string& out, std::string_view utf8) {
    append_text(out, utf8, '\0');
}

std::string escaped_name(std::string_view utf8) {
    std::string out;
    append_name(out, utf8);
    return out;
}

}  // namespace pystack::cpython
