#include "bindings/debug_file_fetcher.h"

#include <nanobind/stl/string.h>

#include "bindings/text.h"

namespace nb = nanobind;

namespace pystack::bindings {

DebugFileFetcher::DebugFileFetcher(const nb::object& native) : fetch_(nb::none()) {
    if (!native.is_none()) fetch_ = nb::cast<nb::dict>(native)["fetch"];
}

modules::FetchDebugFile DebugFileFetcher::function() {
    if (fetch_.is_none()) return {};
    return
        [this](std::string_view build_id, std::string_view name) { return fetch(build_id, name); };
}

std::optional<std::string> DebugFileFetcher::fetch(std::string_view build_id,
                                                   std::string_view name) {
    std::optional<std::string> found;
    if (closed_ || call_ == nullptr) return found;
    call_->on_caller([&] {
        const nb::object path = fetch_(to_str(build_id), to_os_str(name));
        if (!path.is_none()) found = nb::cast<std::string>(path);
    });
    return found;
}

}  // namespace pystack::bindings
