#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>

#include "base/address.h"
#include "base/result.h"
#include "cpython/layout/layout.h"
#include "memory/memory_reader.h"

namespace pystack::cpython {

/// The names that Python code gave its threads (`threading.Thread.name`), by thread identifier,
/// which is the pthread_t that thread states hold. Empty when the interpreter has not imported
/// `threading`.
///
/// A thread whose name cannot be read is left out; an error means that none can be read. Names are
/// in the form of StrPrefix, cut at 65,536 characters. Meant to run while the target waits: some 30
/// system calls whatever the number of threads.
Result<std::unordered_map<std::uint64_t, std::string>> read_thread_names(
    const memory::MemoryReader& reader, const Layout& layout, RemoteAddr interpreter_state);

}  // namespace pystack::cpython
