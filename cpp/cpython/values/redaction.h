#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace pystack::cpython {

/// Stands in the place of what is hidden.
inline constexpr std::string_view kRedacted = "<redacted>";

/// Which values of the target must not be shown. docs/locals.md has the rules.
struct Redaction {
    /// Parts of names, in any case. `_`, `-`, `.` and blanks in them stand for any one of these
    /// characters or none: "api_key" is in "X-Api-Key" and "apiKey".
    std::vector<std::string> names;
    /// Whole words of names, in any case: "auth" is in "basic_auth" and "proxyAuth", but not in
    /// "author".
    std::vector<std::string> words;
    /// Also inside of strings: passwords in URLs, tokens behind "Bearer" and "Basic", and what
    /// follows such a name and `=` or `:`.
    bool in_text = false;

    bool is_empty() const { return names.empty() && words.empty() && !in_text; }
    /// Whether the value of a variable, attribute or key of that name must not be looked at.
    bool hides(std::string_view name) const;
    /// The text with `<redacted>` in place of its secrets; nullopt when it has none. `is_cut`: it
    /// is the beginning of a longer one, so a secret may end behind it.
    std::optional<std::string> masked(std::string_view text, bool is_cut) const;
};

}  // namespace pystack::cpython
