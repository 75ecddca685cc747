#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/result.h"
#include "cpython/runtime/runtime_locator.h"
#include "memory/memory_reader.h"
#include "memory/remote_struct.h"

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

/// What a thread state says of itself, and the one behind it in the list.
struct ListedThread {
    ThreadState thread;  ///< Without `interpreter`.
    RemoteAddr next;     ///< Of the older thread; null: it is the oldest.
};

/// From the bytes of a thread state, which begin with its byte number `first`. nullopt when it does
/// not belong to this interpreter.
std::optional<ListedThread> parse_thread_state(const Layout& layout,
                                               const memory::RemoteStruct& bytes,
                                               std::uint64_t first, RemoteAddr interpreter);

/// Where an int says whether an interpreter collects garbage; nullopt: this version does not say.
std::optional<RemoteAddr> gc_flag_address(const Runtime& runtime, RemoteAddr interpreter);

struct WalkedInterpreters {
    std::vector<InterpreterState> interpreters;
    std::vector<ThreadState> threads;  ///< Per interpreter, oldest thread first.
    /// The list could not be followed to its end; what was read is kept.
    std::optional<Error> problem;
};

/// How many thread states, and interpreters, a process with so many OS threads has at most; 0: not
/// known. A thread may have one in each of many interpreters, and some belong to none, but forged
/// lists of a million would keep a stopped target waiting.
std::size_t most_thread_states(std::size_t os_threads);

/// Reads the lists of interpreters and threads as they are now. On a running target the lists can
/// change under the reader: see walk_running_interpreters.
/// They are followed up to `most` thread states, and as many interpreters.
WalkedInterpreters walk_interpreters(const memory::MemoryReader& memory, const Runtime& runtime,
                                     std::size_t most = most_thread_states(0));

/// For a running target: walks until two walks in a row agree, at most `attempts` times.
WalkedInterpreters walk_running_interpreters(const memory::MemoryReader& memory,
                                             const Runtime& runtime, int attempts,
                                             std::size_t most = most_thread_states(0));

}  // namespace pystack::cpython
