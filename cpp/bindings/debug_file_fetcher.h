#pragma once

#include <nanobind/nanobind.h>

#include <atomic>
#include <exception>
#include <optional>
#include <string>
#include <string_view>

#include "unwind/debug_files.h"

namespace pystack::bindings {

/// Lets Python get debug files, since it can do so from the network: `fetch` of the dict that
/// native_options() takes is None or a function (build id, name of the file) -> path or None. Must
/// outlive what uses its function().
class DebugFileFetcher {
  public:
    /// Needs the GIL.
    explicit DebugFileFetcher(const nanobind::object& native);

    /// Empty when Python gave none. To be called without the GIL. What Python raises ends all
    /// fetching, but not the reading.
    unwind::FetchDebugFile function();

    /// From now on Python is not asked any more: function() gives nothing, on whichever thread.
    void close() { closed_ = true; }

    /// Raises what Python has raised, such as KeyboardInterrupt. Needs the GIL.
    void rethrow() const;

  private:
    std::optional<std::string> fetch(std::string_view build_id, std::string_view name);

    nanobind::object fetch_;
    std::exception_ptr raised_;
    std::atomic<bool> closed_ = false;
};

}  // namespace pystack::bindings
