#include "symbols/punycode.h"

#include <algorithm>
#include <vector>

namespace pystack::symbols {

bool is_unicode(std::uint32_t code) {
    return code < 0x110000 && (code < 0xd800 || code > 0xdfff);
}

void append_utf8(std::string& text, std::uint32_t code) {
    const auto tail = [&](unsigned shift) {
        text += static_cast<char>(0x80U | (code >> shift & 0x3fU));
    };
    if (code < 0x80) {
        text += static_cast<char>(code);
    } else if (code < 0x800) {
        text += static_cast<char>(0xc0U | code >> 6);
        tail(0);
    } else if (code < 0x10000) {
        text += static_cast<char>(0xe0U | code >> 12);
        tail(6);
        tail(0);
    } else {
        text += static_cast<char>(0xf0U | code >> 18);
        tail(12);
        tail(6);
        tail(0);
    }
}

std::optional<std::string> decode_punycode(std::string_view text) {
    constexpr std::uint32_t kBase = 36;
    constexpr std::uint32_t kMin = 1;
    constexpr std::uint32_t kMax = 26;
    constexpr std::uint32_t kSkew = 38;
    constexpr std::uint32_t kDamp = 700;
    constexpr std::size_t kMaxCharacters = 256;
    std::vector<std::uint32_t> codes;
    const std::size_t delimiter = text.rfind('_');
    if (delimiter != std::string_view::npos) {
        for (const char c : text.substr(0, delimiter))
            codes.push_back(static_cast<unsigned char>(c));
        text.remove_prefix(delimiter + 1);
    }
    std::uint64_t code = 128;
    std::uint64_t index = 0;
    std::uint64_t bias = 72;
    bool first = true;
    while (!text.empty()) {
        const std::uint64_t index_before = index;
        std::uint64_t weight = 1;
        for (std::uint64_t k = kBase;; k += kBase) {
            if (text.empty() || weight > UINT32_MAX) return std::nullopt;
            const char c = text.front();
            text.remove_prefix(1);
            const bool is_lower = c >= 'a' && c <= 'z';
            if (!is_lower && (c < '0' || c > '9')) return std::nullopt;
            const auto digit = static_cast<std::uint64_t>(is_lower ? c - 'a' : c - '0' + 26);
            index += digit * weight;
            if (index > UINT32_MAX) return std::nullopt;
            const std::uint64_t threshold =
                k <= bias ? kMin : std::min<std::uint64_t>(k - bias, kMax);
            if (digit < threshold) break;
            weight *= kBase - threshold;
        }
        const std::uint64_t count = codes.size() + 1;
        std::uint64_t delta = (index - index_before) / (first ? kDamp : 2);
        first = false;
        delta += delta / count;
        std::uint64_t k = 0;
        for (; delta > (kBase - kMin) * kMax / 2; k += kBase) delta /= kBase - kMin;
        bias = k + (kBase - kMin + 1) * delta / (delta + kSkew);
        code += index / count;
        index %= count;
        if (count > kMaxCharacters || code > UINT32_MAX ||
            !is_unicode(static_cast<std::uint32_t>(code))) {
            return std::nullopt;
        }
        codes.insert(codes.begin() + static_cast<std::ptrdiff_t>(index),
                     static_cast<std::uint32_t>(code));
        ++index;
    }
    std::string decoded;
    for (const std::uint32_t value : codes) append_utf8(decoded, value);
    return decoded;
}

}  // namespace pystack::symbols
