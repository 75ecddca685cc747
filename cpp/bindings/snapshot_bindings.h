#pragma once

#include <nanobind/nanobind.h>

#include "model/snapshot.h"

namespace pystack::bindings {

/// The RawSnapshot of pystack/_core.pyi. Needs the GIL.
nanobind::dict to_dict(const model::Snapshot& snapshot);

}  // namespace pystack::bindings
