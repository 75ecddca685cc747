#include "symbols/cython_names.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <cstdint>

namespace pystack::symbols {

namespace {

bool is_digit(char c) {
    return std::isdigit(static_cast<unsigned char>(c)) != 0;
}

bool is_identifier(std::string_view name) {
    return !name.empty() && !is_digit(name.front()) && std::ranges::all_of(name, [](char c) {
        return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_';
    });
}

/// A name with its length before it and an underscore behind it, as in "3foo_"; it is taken off.
/// Empty if there is none.
std::string_view take_scope(std::string_view& rest) {
    std::size_t size = 0;
    const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), size);
    const auto digits = static_cast<std::size_t>(end - rest.data());
    if (error != std::errc{} || rest.front() == '0' || size >= rest.size() - digits) return {};
    const std::string_view name = rest.substr(digits, size);
    if (!is_identifier(name) || rest[digits + size] != '_') return {};
    rest.remove_prefix(digits + size + 1);
    return name;
}

}  // namespace

// Cython/Compiler/Naming.py and Nodes.py: the scopes, each with its length before it; a number that
// tells apart what the scope has made names for; the name. The function with the body is named
// before its wrapper, so only the latter always has a number. Functions of C have none.
std::optional<std::string> cython_name(std::string_view symbol) {
    enum class Numbers : std::uint8_t { kAlways, kSometimes, kNever };
    struct Prefix {
        std::string_view text;
        Numbers numbers;
    };
    constexpr std::array<Prefix, 3> kPrefixes = {{{"__pyx_pw_", Numbers::kAlways},
                                                  {"__pyx_pf_", Numbers::kSometimes},
                                                  {"__pyx_f_", Numbers::kNever}}};
    const auto* const prefix = std::ranges::find_if(
        kPrefixes, [&](const Prefix& one) { return symbol.starts_with(one.text); });
    if (prefix == kPrefixes.end()) return std::nullopt;
    std::string_view rest = symbol.substr(prefix->text.size());
    std::string name;
    while (!rest.empty() && is_digit(rest.front())) {
        const std::string_view number_first = rest;
        const std::string_view scope = take_scope(rest);
        if (scope.empty()) break;
        const bool has_number = !rest.empty() && is_digit(rest.front());
        if (!has_number && prefix->numbers == Numbers::kAlways) {
            // "3get_ident": the third function, not one of a scope "get".
            rest = number_first;
            break;
        }
        // Nobody can tell. But the first scope is the module.
        if (!has_number && prefix->numbers == Numbers::kSometimes && !name.empty())
            return std::nullopt;
        name.append(scope).append(".");
    }
    if (name.empty()) return std::nullopt;
    if (prefix->numbers != Numbers::kNever)
        rest.remove_prefix(std::min(rest.size(), rest.find_first_not_of("0123456789")));
    if (!is_identifier(rest)) return std::nullopt;
    return name.append(rest);
}

}  // namespace pystack::symbols
