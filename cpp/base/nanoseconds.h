#pragma once

#include <chrono>
#include <cstdint>

namespace pystack {

/// Of a duration that is not negative.
inline std::uint64_t to_ns(std::chrono::steady_clock::duration duration) {
    return static_cast<std::uint64_t>(
        std::chrono::duration_cast<std::chrono::nanoseconds>(duration).count());
}

/// CLOCK_MONOTONIC, which is the steady clock.
inline std::uint64_t monotonic_ns() {
    return to_ns(std::chrono::steady_clock::now().time_since_epoch());
}

}  // namespace pystack
