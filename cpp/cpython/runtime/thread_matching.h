#pragma once

#include <span>
#include <unordered_map>
#include <vector>

#include "cpython/runtime/interpreter_walker.h"
#include "target/target.h"

namespace pystack::cpython {

/// Where the thread states run.
struct PlacesOnStacks {
    std::span<const std::optional<RemoteAddr>> of_states{};  ///< See place_on_c_stack; or none.
    std::int32_t main_tid = 0;  ///< Of the thread whose stack the kernel made.
};

/// Which OS thread each thread state of the interpreter is, as an index into `infos`; nullopt where
/// it cannot be told.
///
/// By the native id that 3.11+ keeps, if the process has such a thread (after a fork the id may be
/// the parent's); else by the thread pointer, which is pthread_t on glibc and musl: from the
/// registers of stopped threads and cores (`thread_pointers`, by tid), or by finding where the C
/// library keeps the tid inside struct pthread.
///
/// Up to 3.12 a state that an interpreter was made with bears the id of its maker, whoever runs it
/// (_xxsubinterpreters). So where two interpreters' states claim one thread, and where a state
/// claims none, the C stack decides.
std::vector<std::optional<std::size_t>> match_threads(
    std::span<const ThreadState> states, std::span<const target::ThreadInfo> infos,
    const std::unordered_map<std::int32_t, RemoteAddr>& thread_pointers,
    const memory::MemoryReader& memory, const PlacesOnStacks& places = {});

/// The last step of it: corrects what may be the ids of the states' makers. `threads`: the number
/// that the caller has for the thread of each state.
void correct_by_c_stacks(std::span<const ThreadState> states,
                         std::span<const std::optional<RemoteAddr>> places,
                         std::optional<std::size_t> main_thread,
                         std::span<std::optional<std::size_t>> threads);

}  // namespace pystack::cpython
