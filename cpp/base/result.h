#pragma once

#include <expected>
#include <utility>

#include "base/error.h"

namespace pystack {

/// A value or the Error that says why there is none. No exceptions cross a function that returns
/// one.
template <class T>
using Result = std::expected<T, Error>;

inline std::unexpected<Error> fail(Error error) {
    return std::unexpected<Error>(std::move(error));
}

}  // namespace pystack

/// Unwraps a Result into a new variable, or returns its error from the enclosing function.
#define PYSTACK_TRY(name, expression)                                             \
    auto name##_result = (expression);                                            \
    if (!name##_result) return ::pystack::fail(std::move(name##_result).error()); \
    auto& name = *name##_result

/// The same for a Result<void>.
#define PYSTACK_CHECK(expression)                                    \
    do {                                                             \
        if (auto check_result = (expression); !check_result)         \
            return ::pystack::fail(std::move(check_result).error()); \
    } while (false)
