#include "bindings/error_bindings.h"

#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>

#include <string>

#include "bindings/text.h"

namespace nb = nanobind;

namespace pystack::bindings {

void raise(const Error& error, std::optional<int> pid) {
    nb::object address = nb::none();
    nb::object size = nb::none();
    nb::object number = nb::none();
    if (error.code == ErrorCode::kReadFault || error.code == ErrorCode::kCorruptData) {
        address = nb::int_(error.address.value);
        if (error.code == ErrorCode::kReadFault) size = nb::int_(error.size);
    }
    if (error.code == ErrorCode::kSystem && error.number != 0) number = nb::int_(error.number);
    const nb::object exception =
        nb::module_::import_("pystack.errors")
            .attr("from_code")(std::string(error_code_name(error.code)),
                               to_os_str(error.message()),  // Names of files may be in it.
                               nb::arg("address") = address, nb::arg("size") = size,
                               nb::arg("errno") = number,
                               nb::arg("pid") = pid ? nb::object(nb::int_(*pid)) : nb::none());
    PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(exception.ptr())), exception.ptr());
    throw nb::python_error();
}

}  // namespace pystack::bindings
