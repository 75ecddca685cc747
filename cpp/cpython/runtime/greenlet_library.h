#pragma once

#include <string_view>

#include "base/text.h"

namespace pystack::cpython {

/// Whether `path` is the C part of the package greenlet. From 1.0 on it has an underscore.
inline bool is_greenlet_library(std::string_view path) {
    const std::string_view name = base_name(path);
    return name.starts_with("_greenlet.") || name.starts_with("greenlet.");
}

}  // namespace pystack::cpython
