#pragma once

#include <nanobind/nanobind.h>

#include <optional>

#include "bindings/option_value.h"
#include "merge/native_options.h"

namespace pystack::bindings {

/// None, or a dict: all_threads, last_only, sampled_stack_bytes, fetch (see DebugFileFetcher).
inline std::optional<merge::NativeOptions> native_options(const nanobind::object& given) {
    if (given.is_none()) return std::nullopt;
    const auto values = nanobind::cast<nanobind::dict>(given);
    merge::NativeOptions options;
    options.all_threads = option_value<bool>(values, "all_threads");
    options.last_only = option_value<bool>(values, "last_only");
    options.sampled_stack_bytes = option_value<std::uint64_t>(values, "sampled_stack_bytes");
    return options;
}

}  // namespace pystack::bindings
