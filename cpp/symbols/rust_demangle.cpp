#include "symbols/rust_demangle.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>
#include <vector>

#include "symbols/punycode.h"
#include "symbols/rust_v0.h"

namespace pystack::symbols {

namespace {

bool is_digit(char c) {
    return c >= '0' && c <= '9';
}
bool is_hex(char c) {
    return is_digit(c) || (c >= 'a' && c <= 'f');
}

/// The escapes of legacy names, such as `$LT$`.
std::string_view legacy_escape(std::string_view name) {
    constexpr std::array<std::pair<std::string_view, std::string_view>, 10> kEscapes = {
        {{"SP", "@"},
         {"BP", "*"},
         {"RF", "&"},
         {"LT", "<"},
         {"GT", ">"},
         {"LP", "("},
         {"RP", ")"},
         {"C", ","},
         {"u7e", "~"},
         {"u20", " "}}};
    for (const auto& [escape, text] : kEscapes) {
        if (name == escape) return text;
    }
    return {};
}

std::string decode_legacy(std::string_view component) {
    std::string text;
    // An underscore keeps an escape from being the first character.
    if (component.starts_with("_$")) component.remove_prefix(1);
    while (!component.empty()) {
        if (component.starts_with("..")) {
            text += "::";
            component.remove_prefix(2);
            continue;
        }
        const std::size_t end =
            component.starts_with('$') ? component.find('$', 1) : std::string_view::npos;
        if (end != std::string_view::npos) {
            const std::string_view escape = component.substr(1, end - 1);
            const std::string_view known = legacy_escape(escape);
            std::uint32_t code = 0;
            constexpr std::size_t kLongestCode = 7;  // With its 'u'.
            bool is_code =
                escape.size() > 1 && escape.size() <= kLongestCode && escape.front() == 'u';
            for (const char c : escape.substr(std::min<std::size_t>(1, escape.size()))) {
                is_code = is_code && is_hex(c);
                code = code << 4 | static_cast<std::uint32_t>(is_digit(c) ? c - '0' : c - 'a' + 10);
            }
            if (!known.empty() || (is_code && is_unicode(code))) {
                if (!known.empty()) {
                    text += known;
                } else {
                    append_utf8(text, code);
                }
                component.remove_prefix(end + 1);
                continue;
            }
        }
        text += component.front();
        component.remove_prefix(1);
    }
    return text;
}

std::optional<std::string> demangle_legacy(std::string_view symbol) {
    if (!symbol.starts_with("_ZN")) return std::nullopt;
    symbol.remove_prefix(3);
    std::string text;
    std::string_view last;
    while (!symbol.empty() && is_digit(symbol.front())) {
        std::size_t size = 0;
        while (!symbol.empty() && is_digit(symbol.front()) && size <= kMaxRustSymbol) {
            size = size * 10 + static_cast<std::size_t>(symbol.front() - '0');
            symbol.remove_prefix(1);
        }
        if (size == 0 || size > symbol.size()) return std::nullopt;
        if (!last.empty()) text += (text.empty() ? "" : "::") + decode_legacy(last);
        last = symbol.substr(0, size);
        symbol.remove_prefix(size);
    }
    // The last component is the hash by which a Rust name is known from a C++ one.
    constexpr std::size_t kHashSize = 17;
    const bool has_hash = last.size() == kHashSize && last.front() == 'h' &&
                          std::all_of(last.begin() + 1, last.end(), is_hex);
    if (!symbol.starts_with('E') || !has_hash || text.empty()) return std::nullopt;
    return text;
}

}  // namespace

std::optional<std::string> demangle_rust(std::string_view symbol) {
    if (symbol.size() > kMaxRustSymbol) return std::nullopt;
    if (!symbol.starts_with("_R")) return demangle_legacy(symbol);
    symbol.remove_prefix(2);
    // Behind these: what LLVM adds to clones.
    symbol = symbol.substr(0, symbol.find_first_of(".$"));
    return demangle_rust_v0(symbol);
}

std::string shorten_rust(std::string_view name) {
    std::string text;
    // Outside of generic arguments; "<T as Trait>" at the start of a path is none.
    std::vector<bool> kept;
    for (std::size_t i = 0; i < name.size(); ++i) {
        const char c = name[i];
        const bool is_arrow = c == '>' && i > 0 && name[i - 1] == '-';
        if (c == '<') {
            const bool starts_path = i == 0 || std::string_view(" <(&[,").contains(name[i - 1]);
            const bool is_kept = (kept.empty() || kept.back()) && starts_path;
            if (!is_kept && (kept.empty() || kept.back()) && text.ends_with("::"))
                text.resize(text.size() - 2);
            kept.push_back(is_kept);
            if (is_kept) text += c;
        } else if (c == '>' && !is_arrow && !kept.empty()) {
            if (kept.back()) text += c;
            kept.pop_back();
        } else if (kept.empty() || kept.back()) {
            text += c;
        }
    }
    return text;
}

}  // namespace pystack::symbols
