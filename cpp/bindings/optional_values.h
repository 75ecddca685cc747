#pragma once

#include <nanobind/nanobind.h>

#include <optional>
#include <string>

#include "bindings/text.h"

// What is absent becomes None.

namespace pystack::bindings {

template <class Value>
nanobind::object optional_number(const std::optional<Value>& value) {
    return value ? nanobind::object(nanobind::int_(*value)) : nanobind::none();
}

inline nanobind::object optional_number(const std::optional<double>& value) {
    return value ? nanobind::object(nanobind::float_(*value)) : nanobind::none();
}

inline nanobind::object optional_bool(const std::optional<bool>& value) {
    return value ? nanobind::object(nanobind::bool_(*value)) : nanobind::none();
}

inline nanobind::object optional_str(const std::optional<std::string>& value) {
    return value ? to_str(*value) : nanobind::none();
}

inline nanobind::object optional_letter(const std::optional<char>& value) {
    return value ? nanobind::object(nanobind::str(&*value, 1)) : nanobind::none();
}

inline nanobind::object str_or_none(const std::string& text) {
    return text.empty() ? nanobind::none() : to_str(text);
}

}  // namespace pystack::bindings
