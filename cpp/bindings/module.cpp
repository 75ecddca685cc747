#include <nanobind/nanobind.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "bindings/batch_bindings.h"
#include "bindings/debug_file_fetcher.h"
#include "bindings/error_bindings.h"
#include "bindings/native_options.h"
#include "bindings/snapshot_bindings.h"
#include "capture/capture.h"

namespace nb = nanobind;

namespace {

/// None, or a dict: max_depth, max_items, max_string, max_bytes, redact.
std::optional<pystack::capture::LocalsOptions> locals_options(const nb::object& given) {
    if (given.is_none()) return std::nullopt;
    const auto values = nb::cast<nb::dict>(given);
    pystack::capture::LocalsOptions options;
    options.limits.max_depth = nb::cast<unsigned>(values["max_depth"]);
    options.limits.max_items = nb::cast<std::size_t>(values["max_items"]);
    options.limits.max_string = nb::cast<std::size_t>(values["max_string"]);
    options.limits.max_bytes = nb::cast<std::uint64_t>(values["max_bytes"]);
    options.redact = nb::cast<std::vector<std::string>>(values["redact"]);
    return options;
}

nb::dict dump_live(int pid, bool stop, bool exhaustive, const nb::object& locals,
                   const nb::object& native) {
    const auto locals_wanted = locals_options(locals);
    auto native_wanted = pystack::bindings::native_options(native);
    pystack::bindings::DebugFileFetcher fetcher(native);
    if (native_wanted) native_wanted->fetch_debug_file = fetcher.function();
    const auto snapshot = [&] {
        nb::gil_scoped_release release;
        return pystack::capture::capture_live(pid, {.stop = stop,
                                                    .exhaustive = exhaustive,
                                                    .locals = locals_wanted,
                                                    .native = native_wanted});
    }();
    fetcher.rethrow();
    if (!snapshot) pystack::bindings::raise(snapshot.error(), pid);
    return pystack::bindings::to_dict(*snapshot);
}

nb::dict dump_core(const std::string& path, std::optional<std::string> executable,
                   std::vector<std::string> library_folders,
                   std::optional<std::string> library_root, bool exhaustive,
                   const nb::object& locals, const nb::object& native) {
    const auto locals_wanted = locals_options(locals);
    auto native_wanted = pystack::bindings::native_options(native);
    pystack::bindings::DebugFileFetcher fetcher(native);
    if (native_wanted) native_wanted->fetch_debug_file = fetcher.function();
    const auto snapshot = [&] {
        nb::gil_scoped_release release;
        return pystack::capture::capture_core(path, {.executable = std::move(executable),
                                                     .library_folders = std::move(library_folders),
                                                     .library_root = std::move(library_root),
                                                     .exhaustive = exhaustive,
                                                     .locals = locals_wanted,
                                                     .native = native_wanted});
    }();
    fetcher.rethrow();
    if (!snapshot) pystack::bindings::raise(snapshot.error());
    return pystack::bindings::to_dict(*snapshot);
}

}  // namespace

// The signatures and their meaning are in pystack/_core.pyi.
NB_MODULE(_core, module) {
    module.def("dump_live", &dump_live, nb::arg("pid"), nb::kw_only(), nb::arg("stop") = true,
               nb::arg("exhaustive") = false, nb::arg("locals") = nb::none(),
               nb::arg("native") = nb::none());
    module.def("dump_core", &dump_core, nb::arg("path"), nb::kw_only(),
               nb::arg("executable") = nb::none(),
               nb::arg("library_folders") = std::vector<std::string>(),
               nb::arg("library_root") = nb::none(), nb::arg("exhaustive") = false,
               nb::arg("locals") = nb::none(), nb::arg("native") = nb::none());
    pystack::bindings::define_sampler(module);
}
