#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace pystack::waits {

/// The names of the functions that /proc/PID/task/TID/stack has, the innermost first. Lines of
/// another form are left out.
std::vector<std::string> parse_kernel_stack(std::string_view text);

}  // namespace pystack::waits
