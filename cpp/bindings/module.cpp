#include <nanobind/nanobind.h>

#include "bindings/batch_bindings.h"
#include "bindings/error_bindings.h"
#include "bindings/snapshot_bindings.h"
#include "capture/capture.h"

namespace nb = nanobind;

namespace {

nb::dict dump_live(int pid, bool stop, bool exhaustive) {
    const auto snapshot = [&] {
        nb::gil_scoped_release release;
        return pystack::capture::capture_live(pid, {.stop = stop, .exhaustive = exhaustive});
    }();
    if (!snapshot) pystack::bindings::raise(snapshot.error(), pid);
    return pystack::bindings::to_dict(*snapshot);
}

}  // namespace

// The signatures and their meaning are in pystack/_core.pyi.
NB_MODULE(_core, module) {
    module.def("dump_live", &dump_live, nb::arg("pid"), nb::kw_only(), nb::arg("stop") = true,
               nb::arg("exhaustive") = false);
    pystack::bindings::define_sampler(module);
}
