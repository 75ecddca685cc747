#pragma once

#include <cstddef>
#include <string_view>
#include <vector>

namespace pystack::testing {

using Bytes = std::vector<std::byte>;

inline Bytes filled(std::size_t size, int value) {
    return Bytes(size, static_cast<std::byte>(value));
}

template <class T>
void append(Bytes& bytes, const T& value) {
    const auto* const begin = reinterpret_cast<const std::byte*>(&value);
    bytes.insert(bytes.end(), begin, begin + sizeof value);
}

inline void append_text(Bytes& bytes, std::string_view text) {
    const auto* const begin = reinterpret_cast<const std::byte*>(text.data());
    bytes.insert(bytes.end(), begin, begin + text.size());
}

}  // namespace pystack::testing
