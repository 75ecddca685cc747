#pragma once

#include <optional>
#include <string>

#include "base/result.h"
#include "cpython/layout/layout.h"
#include "cpython/runtime/gil_symbols.h"
#include "target/target.h"

namespace pystack::cpython {

/// The interpreter found in a target.
struct Runtime {
    Layout layout;  ///< Checked.
    PythonVersion version;
    bool is_version_exact = true;  ///< Else only major and minor are known.
    bool debug = false;            ///< Built with Py_DEBUG, as far as its symbols tell.
    RemoteAddr address;  ///< _PyRuntime; null where only the interpreter list was found (3.6).
    RemoteAddr interpreters_head;  ///< Address OF the pointer to the first interpreter.
    GilSymbols gil_symbols;        ///< Only with GilPlace::kSymbols.
    std::string binary;            ///< Path of the file that holds it; "" in anonymous memory.

    /// The version, as far as it is known.
    std::string version_text() const {
        return is_version_exact
                   ? version.to_string()
                   : std::to_string(version.major) + "." + std::to_string(version.minor);
    }
};

struct LocateOptions {
    bool exhaustive = false;  ///< Also search anonymous memory and the heap.
};

/// Finds the CPython runtime: by section and symbol in the program and each library, then by
/// searching writable memory for the offset table's cookie (3.13+) or for a pointer to something
/// that has the shape of an interpreter (below). A candidate counts only when its interpreter list
/// can be walked.
///
/// kNotPython when there is none; kVersionUnsupported when one was found that this reader does not
/// know.
Result<Runtime> locate_runtime(const target::Target& target, const LocateOptions& options = {});

/// The runtime that one file holds, by section and symbol.
std::optional<Runtime> runtime_of_file(const target::Target& target, elf::Module& module);

}  // namespace pystack::cpython
