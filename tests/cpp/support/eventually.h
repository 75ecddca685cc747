#pragma once

#include <unistd.h>

#include <chrono>
#include <functional>

namespace pystack::testing {

/// Waits for what another process has to do; false when it does not come.
inline bool eventually(const std::function<bool()>& happened) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (!happened()) {
        if (std::chrono::steady_clock::now() > end) return false;
        ::usleep(200);
    }
    return true;
}

}  // namespace pystack::testing
