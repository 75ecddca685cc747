#pragma once

#include <nanobind/nanobind.h>

namespace pystack::bindings {

/// Defines Sampler, Batch and SampleState of pystack/_core.pyi.
void define_sampler(nanobind::module_& module);

}  // namespace pystack::bindings
