#pragma once

#include <nanobind/nanobind.h>

namespace pystack::bindings {

/// Adds Files, and the functions that make one: whose files they are says with what rights and
/// below which root they are opened.
void define_files(nanobind::module_& module);

}  // namespace pystack::bindings
