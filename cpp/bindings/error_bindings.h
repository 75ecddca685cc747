#pragma once

#include <optional>

#include "base/error.h"

namespace pystack::bindings {

/// Raises the exception of `pystack.errors` that belongs to the error. Needs the GIL.
[[noreturn]] void raise(const Error& error, std::optional<int> pid = {});

}  // namespace pystack::bindings
