#include "symbols/rust_v0_reader.h"

#include <utility>

#include "symbols/punycode.h"
#include "symbols/rust_v0.h"

namespace pystack::symbols {

namespace {

bool is_hex(char c) {
    return RustV0Reader::is_digit(c) || (c >= 'a' && c <= 'f');
}

}  // namespace

char RustV0Reader::take() {
    if (failed_ || position_ >= input_.size()) {
        fail();
        return '\0';
    }
    return input_[position_++];
}
bool RustV0Reader::accept(char wanted) {
    if (peek() != wanted) return false;
    ++position_;
    return true;
}

std::uint64_t RustV0Reader::base_62() {
    if (accept('_')) return 0;
    std::uint64_t value = 0;
    while (!failed_) {
        const char c = take();
        if (c == '_') return value + 1;
        std::uint64_t digit = 0;
        if (is_digit(c)) {
            digit = static_cast<std::uint64_t>(c - '0');
        } else if (is_lower(c)) {
            digit = static_cast<std::uint64_t>(c - 'a') + 10;
        } else if (is_upper(c)) {
            digit = static_cast<std::uint64_t>(c - 'A') + 36;
        } else {
            fail();
        }
        constexpr std::uint64_t kBase = 62;
        if (value >= UINT64_MAX / kBase) fail();
        value = value * kBase + digit;
    }
    return 0;
}

std::uint64_t RustV0Reader::decimal() {
    if (!is_digit(peek())) fail();
    if (accept('0')) return 0;
    std::uint64_t value = 0;
    while (is_digit(peek()) && value <= kMaxRustSymbol)
        value = value * 10 + static_cast<std::uint64_t>(take() - '0');
    return value;
}

std::string RustV0Reader::undisambiguated_identifier() {
    const bool is_punycode = accept('u');
    const std::uint64_t size = decimal();
    accept('_');
    if (failed_ || size > input_.size() - position_) {
        fail();
        return {};
    }
    const std::string_view text = input_.substr(position_, static_cast<std::size_t>(size));
    position_ += text.size();
    if (!is_punycode) return std::string(text);
    // Names of ASCII alone are not encoded.
    if (text.empty() || text.ends_with('_')) fail();
    auto decoded = decode_punycode(text);
    if (!decoded) fail();
    return std::move(decoded).value_or(std::string());
}

std::string_view RustV0Reader::hex_digits() {
    const std::size_t begin = position_;
    while (is_hex(peek())) ++position_;
    const std::string_view digits = input_.substr(begin, position_ - begin);
    if (!accept('_')) fail();
    return digits;
}

std::string RustV0Reader::hex_number() {
    const std::string_view digits = hex_digits();
    constexpr std::size_t kDigitsOf64Bits = 16;
    if (digits.size() > kDigitsOf64Bits) return "0x" + std::string(digits);
    return std::to_string(value_of(digits));
}

std::uint64_t RustV0Reader::value_of(std::string_view digits) {
    std::uint64_t value = 0;
    for (const char c : digits) {
        value = value << 4 | static_cast<std::uint64_t>(is_digit(c) ? c - '0' : c - 'a' + 10);
    }
    return value;
}

}  // namespace pystack::symbols
