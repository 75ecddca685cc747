#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <unordered_map>

#include "base/address.h"
#include "base/result.h"
#include "cpython/layout/layout.h"
#include "memory/memory_reader.h"

namespace pystack::cpython {

using ThreadNames = std::unordered_map<std::uint64_t, std::string>;

/// The names that Python code gave its threads (`threading.Thread.name`), by thread identifier,
/// which is the pthread_t that thread states hold. Empty when the interpreter has not imported
/// `threading`.
///
/// A thread whose name cannot be read is left out; an error means that none can be read. Names are
/// in the form of StrPrefix, cut at 65,536 characters. Meant to run while the target waits: some 30
/// system calls whatever the number of threads.
Result<ThreadNames> read_thread_names(const memory::MemoryReader& reader, const Layout& layout,
                                      RemoteAddr interpreter_state);

/// The name of one thread. `is_main`: the first thread of the process, in the main interpreter. It
/// is "MainThread" even if `threading` was not imported or knows other identifiers (gevent).
std::optional<std::string> thread_name(const ThreadNames& names, std::uint64_t python_thread_id,
                                       bool is_main);

}  // namespace pystack::cpython
