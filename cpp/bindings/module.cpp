#include <nanobind/nanobind.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "bindings/batch_bindings.h"
#include "bindings/core_call.h"
#include "bindings/debug_file_fetcher.h"
#include "bindings/error_bindings.h"
#include "bindings/file_bindings.h"
#include "bindings/native_options.h"
#include "bindings/option_value.h"
#include "bindings/snapshot_bindings.h"
#include "snapshot/capture.h"

namespace nb = nanobind;

namespace {

using pystack::bindings::CoreCall;
using pystack::bindings::option_value;

/// None, or a dict as RawLocals in pystack/_core.pyi.
std::optional<pystack::snapshot::LocalsOptions> locals_options(const nb::object& given) {
    if (given.is_none()) return std::nullopt;
    const auto values = nb::cast<nb::dict>(given);
    pystack::snapshot::LocalsOptions options;
    options.limits.max_depth = option_value<unsigned>(values, "max_depth");
    options.limits.max_items = option_value<std::size_t>(values, "max_items");
    options.limits.max_string = option_value<std::size_t>(values, "max_string");
    options.limits.max_bytes = option_value<std::uint64_t>(values, "max_bytes");
    options.redaction.names = option_value<std::vector<std::string>>(values, "redact");
    options.redaction.words = option_value<std::vector<std::string>>(values, "redact_words");
    options.redaction.in_text = option_value<bool>(values, "redact_text");
    return options;
}

nb::dict dump_live(int pid, bool stop, bool exhaustive, bool tasks, const nb::object& locals,
                   const nb::object& native, const nb::object& native_without_python,
                   bool raise_priority, std::optional<std::uint64_t> max_memory,
                   const nb::object& cancelled) {
    const auto locals_wanted = locals_options(locals);
    auto native_wanted = pystack::bindings::native_options(native);
    auto other_wanted = pystack::bindings::native_options(native_without_python);
    pystack::bindings::DebugFileFetcher fetcher(native.is_none() ? native_without_python : native);
    if (native_wanted) native_wanted->fetch_debug_file = fetcher.function();
    if (other_wanted) other_wanted->fetch_debug_file = fetcher.function();
    CoreCall call(pystack::bindings::make_limits(max_memory), cancelled);
    fetcher.use(call);
    const auto snapshot = call.run([&] {
        return pystack::snapshot::capture_live(pid, {.stop = stop,
                                                     .exhaustive = exhaustive,
                                                     .tasks = tasks,
                                                     .locals = locals_wanted,
                                                     .native = native_wanted,
                                                     .native_without_python = other_wanted,
                                                     .raise_priority = raise_priority,
                                                     .limits = call.limits()});
    });
    if (!snapshot) pystack::bindings::raise(snapshot.error(), pid);
    return pystack::bindings::to_dict(*snapshot);
}

nb::dict dump_core(const std::string& path, std::optional<std::string> executable,
                   std::vector<std::string> library_folders,
                   std::optional<std::string> library_root, std::optional<std::string> original,
                   bool exhaustive, bool tasks, const nb::object& locals, const nb::object& native,
                   const nb::object& native_without_python, std::optional<std::uint64_t> max_memory,
                   const nb::object& cancelled) {
    const auto locals_wanted = locals_options(locals);
    auto native_wanted = pystack::bindings::native_options(native);
    auto other_wanted = pystack::bindings::native_options(native_without_python);
    pystack::bindings::DebugFileFetcher fetcher(native.is_none() ? native_without_python : native);
    if (native_wanted) native_wanted->fetch_debug_file = fetcher.function();
    if (other_wanted) other_wanted->fetch_debug_file = fetcher.function();
    CoreCall call(pystack::bindings::make_limits(max_memory), cancelled);
    fetcher.use(call);
    const auto snapshot = call.run([&] {
        return pystack::snapshot::capture_core(path, {.original = std::move(original),
                                                      .executable = std::move(executable),
                                                      .library_folders = std::move(library_folders),
                                                      .library_root = std::move(library_root),
                                                      .exhaustive = exhaustive,
                                                      .tasks = tasks,
                                                      .locals = locals_wanted,
                                                      .native = native_wanted,
                                                      .native_without_python = other_wanted,
                                                      .limits = call.limits()});
    });
    if (!snapshot) pystack::bindings::raise(snapshot.error());
    return pystack::bindings::to_dict(*snapshot);
}

}  // namespace

// The signatures and their meaning are in pystack/_core.pyi.
NB_MODULE(_core, module) {
    module.def("dump_live", &dump_live, nb::arg("pid"), nb::kw_only(), nb::arg("stop") = true,
               nb::arg("exhaustive") = false, nb::arg("tasks") = true,
               nb::arg("locals") = nb::none(), nb::arg("native") = nb::none(),
               nb::arg("native_without_python") = nb::none(), nb::arg("raise_priority") = true,
               nb::arg("max_memory") = nb::none(), nb::arg("cancelled") = nb::none());
    module.def(
        "dump_core", &dump_core, nb::arg("path"), nb::kw_only(), nb::arg("executable") = nb::none(),
        nb::arg("library_folders") = std::vector<std::string>(),
        nb::arg("library_root") = nb::none(), nb::arg("original") = nb::none(),
        nb::arg("exhaustive") = false, nb::arg("tasks") = true, nb::arg("locals") = nb::none(),
        nb::arg("native") = nb::none(), nb::arg("native_without_python") = nb::none(),
        nb::arg("max_memory") = nb::none(), nb::arg("cancelled") = nb::none());
    pystack::bindings::define_files(module);
    pystack::bindings::define_sampler(module);
}
