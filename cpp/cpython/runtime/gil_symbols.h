#pragma once

#include <optional>

#include "base/address.h"
#include "elf/module_map.h"

namespace pystack::cpython {

/// The separate static variables that hold the GIL of 3.6 [Python/ceval_gil.h]. Absent on stripped
/// files.
struct GilSymbols {
    std::optional<RemoteAddr>
        current_thread;  ///< _PyThreadState_Current: exported, so always there.
    std::optional<RemoteAddr> last_holder;
    std::optional<RemoteAddr> locked;
    RemoteRange wait;    ///< gil_cond and gil_mutex: a thread in a futex here waits for the GIL.
    RemoteRange forced;  ///< switch_cond and switch_mutex: here it has dropped the GIL on request.
};

GilSymbols find_gil_symbols(const elf::Module& module);

}  // namespace pystack::cpython
