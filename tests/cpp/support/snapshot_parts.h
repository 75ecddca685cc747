#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "model/snapshot.h"

namespace pystack::testing {

/// Outermost first.
inline std::vector<std::string> functions_of(const model::Thread& thread) {
    std::vector<std::string> names;
    for (const model::Frame& frame : thread.frames) names.emplace_back(frame.function.view());
    return names;
}

inline bool mentions(const std::vector<std::string>& texts, std::string_view part) {
    return std::any_of(texts.begin(), texts.end(),
                       [part](const std::string& text) { return text.contains(part); });
}

}  // namespace pystack::testing
