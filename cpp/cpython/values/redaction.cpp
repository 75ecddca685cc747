#include "cpython/values/redaction.h"

#include <algorithm>
#include <array>

namespace pystack::cpython {

namespace {

/// Names in texts are not longer; it bounds how far back is looked from each `=`.
constexpr std::size_t kMaxNameLength = 64;
/// URLs with longer names and passwords are not looked for; it bounds how far ahead is looked.
constexpr std::size_t kMaxUrlLength = 4096;
/// Quotes, blanks and backslashes between a name and its `:`, as in nested JSON.
constexpr std::size_t kMaxGap = 4;
/// A word behind "Bearer" that is shorter, or has no digit, may be prose.
constexpr std::size_t kTokenLength = 16;
constexpr std::size_t kShortTokenLength = 8;

constexpr std::string_view kBlanks = " \t\r\n\v\f";
constexpr std::string_view kUrlEnd = " \t\r\n\v\f\"'<>`\\";

bool is_digit(char c) {
    return c >= '0' && c <= '9';
}
bool is_upper(char c) {
    return c >= 'A' && c <= 'Z';
}
bool is_ascii_letter(char c) {
    return is_upper(c) || (c >= 'a' && c <= 'z');
}
/// Bytes of other characters count as letters.
bool is_letter(char c) {
    return is_ascii_letter(c) || static_cast<unsigned char>(c) >= 0x80;
}
char lower(char c) {
    return is_upper(c) ? static_cast<char>(c - 'A' + 'a') : c;
}
bool same(char a, char b) {
    return lower(a) == lower(b);
}
bool is_joint(char c) {
    return c == '_' || c == '-' || c == '.' || c == ' ';
}
bool is_one_of(char c, std::string_view set) {
    return set.find(c) != std::string_view::npos;
}

bool begins_with_part(std::string_view name, std::string_view part) {
    std::size_t at = 0;
    for (const char c : part) {
        if (is_joint(c)) {
            if (at < name.size() && is_joint(name[at])) ++at;
        } else if (at >= name.size() || !same(name[at++], c)) {
            return false;
        }
    }
    return true;
}

bool holds_part(std::string_view name, std::string_view part) {
    while (!part.empty() && is_joint(part.front())) part.remove_prefix(1);
    if (part.empty()) return false;  // It would be in every name.
    for (std::size_t begin = 0; begin < name.size(); ++begin) {
        if (same(name[begin], part.front()) && begins_with_part(name.substr(begin), part))
            return true;
    }
    return false;
}

/// Whether a word begins or ends in front of this character: snake_case, kebab-case, camelCase,
/// HTTPHeader, auth2.
bool is_boundary(std::string_view name, std::size_t at) {
    if (at == 0 || at >= name.size()) return true;
    const char before = name[at - 1];
    const char here = name[at];
    if (is_digit(before) && is_digit(here)) return false;
    if (!is_letter(before) || !is_letter(here)) return true;
    if (!is_upper(here)) return false;
    return !is_upper(before) ||
           (at + 1 < name.size() && is_letter(name[at + 1]) && !is_upper(name[at + 1]));
}

bool holds_word(std::string_view name, std::string_view word) {
    if (word.empty()) return false;
    for (std::size_t begin = 0; begin + word.size() <= name.size(); ++begin) {
        if (std::ranges::equal(name.substr(begin, word.size()), word, same) &&
            is_boundary(name, begin) && is_boundary(name, begin + word.size())) {
            return true;
        }
    }
    return false;
}

/// A part of a text.
struct Span {
    std::size_t begin;
    std::size_t end;
};

/// Looks for secrets in one text, from its beginning to its end.
class SecretFinder {
  public:
    SecretFinder(const Redaction& redaction, std::string_view text, bool is_cut)
        : redaction_(redaction), text_(text), is_cut_(is_cut) {}

    /// The first secret that begins at `from` or behind it.
    std::optional<Span> next(std::size_t from) const {
        for (std::size_t at = from; at < text_.size(); ++at) {
            std::optional<Span> found;
            const char c = text_[at];
            if (c == ':' && text_.substr(at).starts_with("://")) {
                found = password_of_url(at + 3);
            } else if (c == ':' || c == '=') {
                found = value_of_name(at);
            } else if (same(c, 'b')) {
                found = token(at);
            } else if (c == '-') {
                found = private_key(at);
            }
            if (found && found->begin < found->end) return found;
        }
        return std::nullopt;
    }

  private:
    std::size_t find_end(std::size_t from, std::string_view ends) const {
        return std::min(text_.find_first_of(ends, from), text_.size());
    }

    /// scheme://user:PASSWORD@host
    std::optional<Span> password_of_url(std::size_t authority) const {
        if (authority < text_.size() && text_[authority] == '[') return std::nullopt;  // IPv6.
        const std::size_t url_end =
            authority + std::min(text_.substr(authority, kMaxUrlLength).find_first_of(kUrlEnd),
                                 std::min(text_.size() - authority, kMaxUrlLength));
        const std::size_t colon = find_end(authority, ":/?#@");
        if (colon >= url_end || text_[colon] != ':') return std::nullopt;
        const std::size_t begin = colon + 1;
        const std::size_t digits_end =
            std::min(text_.substr(0, url_end).find_first_not_of("0123456789", begin), url_end);
        const bool may_go_on = is_cut_ && url_end == text_.size();
        if (digits_end > begin && !(may_go_on && digits_end == url_end) &&
            (digits_end >= url_end || is_one_of(text_[digits_end], "/?#,"))) {
            return std::nullopt;  // A port.
        }
        std::size_t at = text_.substr(0, url_end).find('@', begin);
        if (at == std::string_view::npos)
            return may_go_on ? std::optional(Span{begin, url_end}) : std::nullopt;
        // There may be more of them in it, although they should have been quoted.
        const std::size_t host_end =
            std::min(text_.substr(0, url_end).find_first_of("/?#", at), url_end);
        at = text_.rfind('@', host_end - 1);
        return Span{begin, at};
    }

    /// name=VALUE, Name: VALUE, "name": "VALUE"
    std::optional<Span> value_of_name(std::size_t sign) const {
        const bool is_assignment = text_[sign] == '=';
        const auto at = [this](std::size_t i) { return i < text_.size() ? text_[i] : '\0'; };
        if (is_assignment && at(sign + 1) == '=') return std::nullopt;  // A comparison.
        std::size_t name_end = sign;
        while (name_end > 0 && sign - name_end < kMaxGap &&
               is_one_of(text_[name_end - 1], " \t\"'\\")) {
            --name_end;
        }
        std::size_t name_begin = name_end;
        while (name_begin > 0 && name_end - name_begin < kMaxNameLength &&
               (is_letter(text_[name_begin - 1]) || is_digit(text_[name_begin - 1]) ||
                is_one_of(text_[name_begin - 1], "_-"))) {
            --name_begin;
        }
        if (name_begin == name_end ||
            !redaction_.hides(text_.substr(name_begin, name_end - name_begin))) {
            return std::nullopt;
        }
        std::size_t begin = sign + 1;
        while (is_one_of(at(begin), " \t\\")) ++begin;
        if (const char quote = at(begin); quote == '"' || quote == '\'') {
            ++begin;
            return Span{begin, quoted_end(begin, quote)};
        }
        // Values of headers have blanks and commas in them, those of queries do not.
        return Span{begin, find_end(begin, is_assignment ? " \t\r\n\v\f&;\"'" : "\r\n")};
    }

    /// Where the quoted text ends that begins here, behind its quote.
    std::size_t quoted_end(std::size_t begin, char quote) const {
        // In JSON inside of JSON the quotes around the value are escaped as well.
        const bool is_escaped = begin >= 2 && text_[begin - 2] == '\\';
        for (std::size_t at = begin; at < text_.size(); ++at) {
            if (text_[at] == quote) return at;
            if (text_[at] == '\\' && !is_escaped) ++at;
        }
        return text_.size();
    }

    /// Bearer TOKEN, Basic TOKEN
    std::optional<Span> token(std::size_t begin) const {
        constexpr std::array<std::string_view, 2> kSchemes = {"bearer", "basic"};
        if (begin > 0 && (is_letter(text_[begin - 1]) || is_digit(text_[begin - 1])))
            return std::nullopt;
        const auto* scheme = std::ranges::find_if(kSchemes, [&](std::string_view one) {
            return std::ranges::equal(text_.substr(begin, one.size()), one, same);
        });
        if (scheme == kSchemes.end()) return std::nullopt;
        const std::size_t gap = begin + scheme->size();
        const std::size_t first = std::min(text_.find_first_not_of(' ', gap), text_.size());
        if (first == gap) return std::nullopt;
        std::size_t end = first;
        while (end < text_.size() && (is_ascii_letter(text_[end]) || is_digit(text_[end]) ||
                                      is_one_of(text_[end], "-._~+/="))) {
            ++end;
        }
        const std::string_view word = text_.substr(first, end - first);
        const bool is_whole_text =
            begin == 0 && text_.find_first_not_of(kBlanks, end) == std::string_view::npos;
        const bool looks_like_one =
            word.size() >= kTokenLength ||
            (word.size() >= kShortTokenLength && std::ranges::any_of(word, is_digit));
        if (!is_whole_text && !looks_like_one) return std::nullopt;
        return Span{first, end};
    }

    /// -----BEGIN PRIVATE KEY-----, also RSA, EC, ENCRYPTED, OPENSSH: RFC 7468.
    std::optional<Span> private_key(std::size_t at) const {
        constexpr std::string_view kBegin = "-----BEGIN ";
        constexpr std::string_view kKind = "PRIVATE KEY-----";
        constexpr std::size_t kMaxKind = 32;  // In front of it.
        if (!text_.substr(at).starts_with(kBegin)) return std::nullopt;
        const std::string_view label = text_.substr(at + kBegin.size(), kMaxKind + kKind.size());
        const std::size_t kind = label.find(kKind);
        if (kind == std::string_view::npos) return std::nullopt;
        const std::size_t begin = at + kBegin.size() + kind + kKind.size();
        return Span{begin, std::min(text_.find("-----END ", begin), text_.size())};
    }

    const Redaction& redaction_;
    std::string_view text_;
    bool is_cut_;
};

}  // namespace

bool Redaction::hides(std::string_view name) const {
    return std::ranges::any_of(names, [&](const auto& part) { return holds_part(name, part); }) ||
           std::ranges::any_of(words, [&](const auto& word) { return holds_word(name, word); });
}

std::optional<std::string> Redaction::masked(std::string_view text, bool is_cut) const {
    if (!in_text) return std::nullopt;
    const SecretFinder finder(*this, text, is_cut);
    auto secret = finder.next(0);
    if (!secret) return std::nullopt;
    std::string shown;
    std::size_t done = 0;
    for (; secret; secret = finder.next(done)) {
        shown += text.substr(done, secret->begin - done);
        shown += kRedacted;
        done = secret->end;
    }
    shown += text.substr(done);
    return shown;
}

}  // namespace pystack::cpython
