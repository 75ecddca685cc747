#pragma once

#include <nanobind/nanobind.h>

#include <string_view>

namespace pystack::bindings {

/// A Python string of the target: its lone surrogates are kept, and bytes that are no UTF-8 are
/// replaced.
inline nanobind::object to_str(std::string_view text) {
    const auto size = static_cast<Py_ssize_t>(text.size());
    PyObject* str = PyUnicode_DecodeUTF8(text.data(), size, "surrogatepass");
    if (str == nullptr) {
        PyErr_Clear();
        str = PyUnicode_DecodeUTF8(text.data(), size, "replace");
    }
    if (str == nullptr) throw nanobind::python_error();
    return nanobind::steal(str);
}

/// A path or argument as the operating system has it: any bytes, so that it can be opened again.
inline nanobind::object to_os_str(std::string_view text) {
    PyObject* str =
        PyUnicode_DecodeUTF8(text.data(), static_cast<Py_ssize_t>(text.size()), "surrogateescape");
    if (str == nullptr) throw nanobind::python_error();
    return nanobind::steal(str);
}

}  // namespace pystack::bindings
