#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string_view>

#include "base/checked.h"

namespace pystack {

/// Bytes that somebody else wrote: nothing in them is where it should be, nor aligned. What is read
/// beyond their end is absent.
using ByteSpan = std::span<const std::byte>;

/// `size` bytes at `offset`; empty if they are not all there.
inline ByteSpan part(ByteSpan bytes, std::uint64_t offset, std::uint64_t size) {
    if (offset > bytes.size() || bytes.size() - offset < size) return {};
    return bytes.subspan(offset, size);
}

template <class T>
std::optional<T> value_at(ByteSpan bytes, std::uint64_t offset) {
    const ByteSpan field = part(bytes, offset, sizeof(T));
    if (field.empty()) return std::nullopt;
    T value;
    std::memcpy(&value, field.data(), sizeof value);
    return value;
}

/// `count` values of T at `offset`; empty if they are not all there.
template <class T>
ByteSpan table_at(ByteSpan bytes, std::uint64_t offset, std::uint64_t count) {
    const auto size = checked_multiply(count, sizeof(T));
    return size ? part(bytes, offset, *size) : ByteSpan{};
}

/// `size` with the padding behind it. `alignment` is a power of two.
constexpr std::uint64_t padded(std::uint64_t size, std::uint64_t alignment = 4) {
    return (size + alignment - 1) & ~(alignment - 1);
}

/// Whether this text and a zero byte are at `offset`.
inline bool text_equals(ByteSpan bytes, std::uint64_t offset, std::string_view wanted) {
    if (offset >= bytes.size() || bytes.size() - offset <= wanted.size()) return false;
    const std::byte* text = bytes.data() + offset;
    return std::memcmp(text, wanted.data(), wanted.size()) == 0 &&
           text[wanted.size()] == std::byte{0};
}

}  // namespace pystack
