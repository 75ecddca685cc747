#include "merge/interpreter_glue.h"

#include <algorithm>
#include <array>

#include "cpython/runtime/glue_functions.h"

namespace pystack::merge {

namespace {

/// How threads and programs start, in any file.
constexpr std::array<std::string_view, 10> kStart = {
    "__clone",
    "__clone3",
    "__libc_start_call_main",
    "__libc_start_main",
    "__libc_start_main_impl",
    "_start",
    "clone",
    "clone3",
    "start_thread",
    "thread_start",
};

/// Compilers make several of a function, and say so behind a dot.
std::string_view without_suffix(std::string_view name) {
    return name.substr(0, name.find('.'));
}

}  // namespace

bool is_interpreter_glue(std::string_view function, std::string_view python_name,
                         std::string_view module, bool in_interpreter) {
    const std::string_view name = without_suffix(function);
    // libffi is how ctypes calls; what it calls, and for whom, is on both sides.
    if (std::find(kStart.begin(), kStart.end(), name) != kStart.end() ||
        module.starts_with("libffi"))
        return true;
    if (!in_interpreter) return false;
    if (!python_name.empty()) return cpython::is_glue_python_name(python_name);
    return name.empty() || cpython::is_glue_function(name);
}

}  // namespace pystack::merge
