#pragma once

#include <string_view>

namespace pystack::cpython {

/// The function that runs Python code, in all versions; compilers may add a suffix to the name.
inline constexpr std::string_view kEvalLoopName = "_PyEval_EvalFrameDefault";

/// Whether a function of the interpreter's binary, by its symbol without a suffix, is only how
/// Python code is started and calls other code: every program has it on its stacks.
bool is_glue_function(std::string_view symbol);

/// The same of a function by the name that Python has for it, as in `type.__call__`.
bool is_glue_python_name(std::string_view name);

}  // namespace pystack::cpython
