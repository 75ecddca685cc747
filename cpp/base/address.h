#pragma once

#include <compare>
#include <cstdint>
#include <functional>

namespace pystack {

/// An address in the target's address space. Never dereferenced here; only a MemoryReader turns it
/// into bytes.
struct RemoteAddr {
    std::uint64_t value = 0;

    constexpr explicit operator bool() const { return value != 0; }
    constexpr auto operator<=>(const RemoteAddr&) const = default;

    /// Wraps around like the target's own arithmetic would; ranges are checked where they are read.
    constexpr RemoteAddr operator+(std::uint64_t bytes) const { return {value + bytes}; }
    constexpr RemoteAddr operator-(std::uint64_t bytes) const { return {value - bytes}; }
    constexpr std::uint64_t operator-(RemoteAddr other) const { return value - other.value; }
};

/// A half-open range [begin, end) of the target's address space.
struct RemoteRange {
    RemoteAddr begin;
    RemoteAddr end;

    constexpr std::uint64_t size() const { return end.value > begin.value ? end - begin : 0; }
    constexpr bool contains(RemoteAddr address) const { return begin <= address && address < end; }
    constexpr auto operator<=>(const RemoteRange&) const = default;
};

/// A position in a file on our side: kept apart from RemoteAddr so that the two cannot be mixed.
struct FileOffset {
    std::uint64_t value = 0;

    constexpr auto operator<=>(const FileOffset&) const = default;
};

}  // namespace pystack

template <>
struct std::hash<pystack::RemoteAddr> {
    std::size_t operator()(pystack::RemoteAddr address) const noexcept {
        return std::hash<std::uint64_t>{}(address.value);
    }
};
