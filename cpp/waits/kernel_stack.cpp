#include "waits/kernel_stack.h"

#include <algorithm>

namespace pystack::waits {

namespace {

constexpr std::size_t kMostFrames = 64;

/// Of "[<0>] kernel_clone+0x1af/0x3e0".
std::string_view function_in(std::string_view line) {
    const std::size_t begin = line.find("] ");
    if (!line.starts_with("[<") || begin == std::string_view::npos) return {};
    line.remove_prefix(begin + 2);
    return line.substr(0, line.find('+'));
}

}  // namespace

std::vector<std::string> parse_kernel_stack(std::string_view text) {
    std::vector<std::string> functions;
    while (!text.empty() && functions.size() < kMostFrames) {
        const std::size_t end = std::min(text.find('\n'), text.size());
        const std::string_view function = function_in(text.substr(0, end));
        if (!function.empty()) functions.emplace_back(function);
        text.remove_prefix(std::min(end + 1, text.size()));
    }
    return functions;
}

}  // namespace pystack::waits
