#pragma once

#include <nanobind/nanobind.h>

#include <string>
#include <utility>

#include "bindings/error_bindings.h"

namespace pystack::bindings {

/// A value of a dict of options. Raises InvalidArgument if it is not a `Value`, or too large for
/// it.
template <class Value>
Value option_value(const nanobind::dict& values, const char* name) {
    const nanobind::object given = values[name];
    Value value{};
    if (nanobind::try_cast(given, value)) return value;
    PyErr_Clear();
    const std::string text = nanobind::repr(given).c_str();
    raise(Error{.code = ErrorCode::kInvalidArgument,
                .detail = std::string(name) + " cannot be " + text});
}

}  // namespace pystack::bindings
