#pragma once

#include <span>
#include <unordered_map>
#include <vector>

#include "cpython/runtime/interpreter_walker.h"
#include "target/target.h"

namespace pystack::cpython {

/// Which OS thread each thread state of the interpreter is, as an index into `infos`; nullopt where
/// it cannot be told.
///
/// By the native id that 3.11+ keeps, if the process has such a thread (after a fork the id may be
/// the parent's); else by the thread pointer, which is pthread_t on glibc and musl: from the
/// registers of stopped threads and cores (`thread_pointers`, by tid), or by finding where the C
/// library keeps the tid inside struct pthread.
std::vector<std::optional<std::size_t>> match_threads(
    std::span<const ThreadState> states, std::span<const target::ThreadInfo> infos,
    const std::unordered_map<std::int32_t, RemoteAddr>& thread_pointers,
    const memory::MemoryReader& memory);

}  // namespace pystack::cpython
