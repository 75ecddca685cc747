#pragma once

#include <optional>
#include <string>

#include "cpython/layout/layout.h"
#include "memory/memory_reader.h"

namespace pystack::cpython {

/// Type names of a thread's exceptions, as tp_name has them; nullopt where there is none or it
/// cannot be read.
struct ExceptionState {
    std::optional<std::string> raising;   ///< Set and not yet caught: it is on its way up.
    std::optional<std::string> handling;  ///< What sys.exc_info() would give: an except block runs.
};

ExceptionState read_exceptions(const memory::MemoryReader& memory, const Layout& layout,
                               RemoteAddr thread_state);

}  // namespace pystack::cpython
