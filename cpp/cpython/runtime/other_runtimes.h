#pragma once

#include <string>
#include <vector>

#include "cpython/runtime/runtime_locator.h"
#include "target/target.h"

namespace pystack::cpython {

/// The interpreters of a process beside the one that is read: a program may load several
/// libpythons. One sentence part each: the version and the file. Looked for in the program and in
/// the files named like an interpreter, by section and symbol only; one that has not started, or
/// has ended, is not told.
std::vector<std::string> other_runtimes(const target::Target& target, const Runtime& read);

}  // namespace pystack::cpython
