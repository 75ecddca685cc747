#pragma once

#include <cstdint>

namespace pystack {

/// Of the supported machines. Where a target has larger pages, the small ones are just parts of
/// them.
inline constexpr std::uint64_t kPageSize = 4096;

/// Where the page begins that holds `address`.
constexpr std::uint64_t page_begin(std::uint64_t address) {
    return address & ~(kPageSize - 1);
}
/// Where the page ends that holds the byte before `end`.
constexpr std::uint64_t page_end(std::uint64_t end) {
    return (end + kPageSize - 1) & ~(kPageSize - 1);
}

}  // namespace pystack
