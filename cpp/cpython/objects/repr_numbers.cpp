#include "cpython/objects/repr_numbers.h"

#include <array>
#include <charconv>
#include <cmath>
#include <string_view>
#include <vector>

namespace pystack::cpython {

namespace {

constexpr unsigned kDigitBits = 30;
// The largest power of ten in 32 bits.
constexpr std::uint32_t kChunk = 1'000'000'000;
constexpr int kChunkDigits = 9;

/// The format "r" of PyOS_double_to_string [Python/pystrtod.c], without sign: exponents below -4
/// and from 16 on are written out.
void append_magnitude(std::string& out, double magnitude, bool add_point_zero) {
    if (std::isnan(magnitude)) {
        out += "nan";
        return;
    }
    if (std::isinf(magnitude)) {
        out += "inf";
        return;
    }
    std::array<char, 64> buffer;
    const auto written = std::to_chars(buffer.data(), buffer.data() + buffer.size(), magnitude,
                                       std::chars_format::scientific);
    const std::string_view text(buffer.data(), written.ptr);
    const std::size_t mark = text.find('e');
    int exponent = 0;
    const std::size_t number = mark + (text[mark + 1] == '+' ? 2 : 1);
    std::from_chars(text.data() + number, text.data() + text.size(), exponent);
    std::string digits(1, text[0]);
    if (mark > 2) digits += text.substr(2, mark - 2);

    if (exponent < -4 || exponent >= 16) {
        out += digits[0];
        if (digits.size() > 1) out.append(".").append(digits, 1);
        out += exponent < 0 ? "e-" : "e+";
        const std::string power = std::to_string(std::abs(exponent));
        if (power.size() < 2) out += '0';
        out += power;
        return;
    }
    if (exponent < 0) {
        out += "0.";
        out.append(static_cast<std::size_t>(-exponent) - 1, '0');
        out += digits;
        return;
    }
    const std::size_t whole = static_cast<std::size_t>(exponent) + 1;
    if (digits.size() <= whole) {
        out += digits;
        out.append(whole - digits.size(), '0');
        if (add_point_zero) out += ".0";
    } else {
        out.append(digits, 0, whole).append(".").append(digits, whole);
    }
}

void append_real(std::string& out, double value, bool add_point_zero, bool always_sign) {
    // CPython writes no sign before nan, but the "+" of an imaginary part.
    if (std::signbit(value) && !std::isnan(value)) {
        out += '-';
    } else if (always_sign) {
        out += '+';
    }
    append_magnitude(out, std::fabs(value), add_point_zero);
}

}  // namespace

void append_float(std::string& out, double value) {
    append_real(out, value, true, false);
}

void append_complex(std::string& out, double real, double imaginary) {
    // complex_repr, Objects/complexobject.c: a positive zero is left out.
    if (real == 0 && !std::signbit(real)) {
        append_real(out, imaginary, false, false);
        out += 'j';
        return;
    }
    out += '(';
    append_real(out, real, false, false);
    append_real(out, imaginary, false, true);
    out += "j)";
}

void append_int(std::string& out, bool negative, std::span<const std::uint32_t> digits) {
    if (digits.size() <= 2) {  // As nearly all are.
        std::int64_t value = 0;
        for (std::size_t i = digits.size(); i-- > 0;) value = value << kDigitBits | digits[i];
        std::array<char, 24> text;
        const auto end =
            std::to_chars(text.data(), text.data() + text.size(), negative ? -value : value);
        out.append(text.data(), end.ptr);
        return;
    }
    std::vector<std::uint32_t> rest(digits.begin(), digits.end());
    std::vector<std::uint32_t> chunks;  // Lowest first.
    while (!rest.empty()) {
        std::uint64_t remainder = 0;
        for (std::size_t i = rest.size(); i-- > 0;) {
            const std::uint64_t part = remainder << kDigitBits | rest[i];
            rest[i] = static_cast<std::uint32_t>(part / kChunk);
            remainder = part % kChunk;
        }
        chunks.push_back(static_cast<std::uint32_t>(remainder));
        while (!rest.empty() && rest.back() == 0) rest.pop_back();
    }
    while (!chunks.empty() && chunks.back() == 0) chunks.pop_back();
    if (chunks.empty()) {
        out += '0';
        return;
    }
    if (negative) out += '-';
    out += std::to_string(chunks.back());
    for (std::size_t i = chunks.size() - 1; i-- > 0;) {
        const std::string chunk = std::to_string(chunks[i]);
        out.append(static_cast<std::size_t>(kChunkDigits) - chunk.size(), '0').append(chunk);
    }
}

}  // namespace pystack::cpython
