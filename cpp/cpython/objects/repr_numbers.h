#pragma once

#include <cstdint>
#include <span>
#include <string>

namespace pystack::cpython {

// What repr() of numbers says, from their bits. The texts are appended to `out`.

/// float: the shortest text that reads back as the same value.
void append_float(std::string& out, double value);
/// complex.
void append_complex(std::string& out, double real, double imaginary);

/// An int from its digits of 30 bits, lowest first. The time grows with the square of their number.
void append_int(std::string& out, bool negative, std::span<const std::uint32_t> digits);

}  // namespace pystack::cpython
