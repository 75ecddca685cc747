#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/result.h"
#include "cpython/runtime_locator.h"
#include "memory/memory_reader.h"

namespace pystack::cpython {

/// One PyInterpreterState.
struct InterpreterState {
    RemoteAddr address;
    std::int64_t id = 0;
    std::optional<bool> gc_collecting;  ///< nullopt: this version does not say.
    std::optional<bool> finalizing;
};

/// One PyThreadState.
struct ThreadState {
    RemoteAddr address;
    std::size_t interpreter = 0;  ///< Index into WalkedInterpreters::interpreters.
    std::uint64_t python_thread_id = 0;
    std::optional<std::uint64_t> native_thread_id;  ///< 3.11+; in the target's pid namespace.
    std::uint64_t unique_id = 0;  ///< Never reused by the interpreter; 0 when unknown.

    bool operator==(const ThreadState&) const = default;
};

struct WalkedInterpreters {
    std::vector<InterpreterState> interpreters;
    std::vector<ThreadState> threads;  ///< Per interpreter, oldest thread first.
    /// The list could not be followed to its end; what was read is kept.
    std::optional<Error> problem;
};

/// Reads the lists of interpreters and threads as they are now. On a running target the lists can
/// change under the reader: see walk_moving_interpreters.
WalkedInterpreters walk_interpreters(const memory::MemoryReader& memory, const Runtime& runtime);

/// For a running target: walks until two walks in a row agree, at most `attempts` times.
WalkedInterpreters walk_moving_interpreters(const memory::MemoryReader& memory,
                                            const Runtime& runtime, int attempts);

}  // namespace pystack::cpython
