#pragma once

#include <cstddef>
#include <cstdint>

namespace pystack::cpython {

/// How much of a value is shown. What is left out says so in its place: `... N more`.
struct RenderLimits {
    unsigned max_depth = 4;        ///< Containers and instances inside each other; at most 100.
    std::size_t max_items = 20;    ///< Of one container, attributes of one instance.
    std::size_t max_string = 200;  ///< Code points of a str, bytes of a bytes or bytearray.
    /// Ints with more decimal digits are shown as their bit length; at most 4,300.
    std::size_t max_int_digits = 1000;
    /// Bytes of objects looked at plus bytes of text made, between two calls of `begin`. It bounds
    /// how long a target is kept waiting.
    std::uint64_t max_bytes = 256 * 1024;
};

}  // namespace pystack::cpython
