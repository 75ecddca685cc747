#pragma once

#include <nanobind/nanobind.h>

#include <atomic>
#include <optional>
#include <string>
#include <string_view>

#include "bindings/core_call.h"
#include "modules/debug_files.h"

namespace pystack::bindings {

/// Lets Python get debug files, since it can do so from the network: `fetch` of the dict that
/// native_options() takes is None or a function (build id, name of the file) -> path or None. It is
/// called on the thread that called the core, where signals interrupt it. Must outlive what uses
/// its function().
class DebugFileFetcher {
  public:
    /// Needs the GIL.
    explicit DebugFileFetcher(const nanobind::object& native);

    /// From now on questions go to the caller of this call.
    void use(CoreCall& call) { call_ = &call; }

    /// Empty when Python gave none. To be called by what the call runs. What Python raises ends the
    /// call.
    modules::FetchDebugFile function();

    /// From now on Python is not asked any more: function() gives nothing, on whichever thread.
    void close() { closed_ = true; }

  private:
    std::optional<std::string> fetch(std::string_view build_id, std::string_view name);

    nanobind::object fetch_;
    CoreCall* call_ = nullptr;
    std::atomic<bool> closed_ = false;
};

}  // namespace pystack::bindings
