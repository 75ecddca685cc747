#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <vector>

#include "cpython/frames/frame_format.h"
#include "cpython/layout/layout.h"
#include "cpython/runtime/interpreter_walker.h"
#include "memory/memory_reader.h"
#include "target/target.h"

namespace pystack::cpython {

/// Where on the C stack of its thread the frames of a thread state run: an address that their
/// innermost activation of the interpreter loop left there. 3.12+: the shim frame; 3.11: the C
/// frame, `c_frame`. nullopt: the version leaves no such trace, or the thread state runs nothing.
std::optional<RemoteAddr> place_on_c_stack(const Layout& layout, RemoteAddr thread_state,
                                           std::span<const RawFrame> frames, RemoteAddr c_frame);

/// Below 3.11, where nothing else tells: the highest address in the upper part of one of these
/// stacks that holds a pointer to `frame`, the outermost of a thread state. The loop that runs a
/// frame has it on its stack. `stack_ends`: see c_stack_ends.
std::optional<RemoteAddr> find_on_c_stacks(const memory::MemoryReader& memory,
                                           std::span<const RemoteAddr> stack_ends,
                                           RemoteAddr frame);

/// The upper ends of the C stacks of threads with these states: pthread_t, see CStacks, and of the
/// main thread the end of the mapping.
std::vector<RemoteAddr> c_stack_ends(const target::Target& target,
                                     std::span<const ThreadState> states);

/// Finds the thread that has an address on its C stack, without knowing where stacks end: the C
/// library has the structure that pthread_t points to at the upper end of each thread's stack, and
/// the main thread's stack lies above all of them.
class CStacks {
  public:
    /// `pthread`: the thread pointer, which is pthread_t. `thread`: the caller's number of it.
    void add(RemoteAddr pthread, std::size_t thread, bool is_main);
    std::optional<std::size_t> find(RemoteAddr address) const;

  private:
    std::map<RemoteAddr, std::size_t> by_pthread_;  ///< Without the main thread.
    std::optional<std::size_t> main_;
    RemoteAddr highest_;
};

/// One of the thread states of an OS thread that runs in several interpreters.
struct NestedState {
    std::size_t state = 0;            ///< The caller's number of it.
    bool runs_python = false;         ///< It has frames.
    std::optional<RemoteAddr> place;  ///< See place_on_c_stack.
    bool holds_gil = false;           ///< Of its interpreter.
    std::int64_t interpreter_id = 0;
};

/// Sorts the thread states of one OS thread: the one that was entered last comes first, and those
/// that run nothing last. A state without a place is the outermost, if it is that of the oldest
/// interpreter. Where others left no traces on the C stack, the one that holds the GIL is the
/// innermost, and of others the one of the younger interpreter. False if that is a guess.
bool sort_innermost_first(std::span<NestedState> states);

}  // namespace pystack::cpython
