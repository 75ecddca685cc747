#pragma once

#include <string_view>

namespace pystack::merge {

/// Whether a function is machinery that every Python program goes through: the interpreter loop,
/// the ways from one call to the next, the start of programs and threads. Who looks for what their
/// program does need not see it.
///
/// `function`: the name in the symbol table, empty where there is none. `python_name`: what Python
/// calls it, likewise. `module`: the name of its file. `in_interpreter`: that is the file that has
/// the interpreter. There a function is machinery by its name, or because it has none.
bool is_interpreter_glue(std::string_view function, std::string_view python_name,
                         std::string_view module, bool in_interpreter);

}  // namespace pystack::merge
