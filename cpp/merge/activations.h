#pragma once

#include <span>
#include <vector>

#include "cpython/frames/stack_reader.h"
#include "cpython/layout/layout.h"
#include "memory/memory_reader.h"
#include "merge/stack_merge.h"

namespace pystack::merge {

/// Splits the Python frames of a thread state, innermost first, into what each activation of the
/// interpreter loop runs, with the trace that the activation left on the C stack:
///   3.12+  the shim frame that begins it;
///   3.11   its _PyCFrame. `c_frame` is that of the innermost activation, as the thread state has
///          it; the others are followed in `stack`, the copied C stack;
///   <3.11  nothing: each frame that runs is an activation of its own.
/// Compiled frames are no activation: they belong to the one that called them, if there is one.
std::vector<PythonSegment> split_into_activations(const cpython::Layout& layout,
                                                  std::span<const cpython::RawFrame> frames,
                                                  RemoteAddr c_frame,
                                                  const memory::MemoryReader& stack,
                                                  std::size_t thread);

}  // namespace pystack::merge
