#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <vector>

#include "merge/stack_merge.h"
#include "modules/code_map.h"
#include "modules/native_frame.h"

namespace pystack::merge {

/// How many of a thread's native frames belong to the greenlet that runs on it; nullopt if none
/// does. A greenlet's C stack begins with the function of the greenlet library that started it.
/// Behind that lies what another greenlet left there: no callers, and perhaps not even frames.
///
/// All lists are innermost first. `segments` are those of the thread's Python frames, which are the
/// greenlet's.
std::optional<std::size_t> frames_of_greenlet(std::span<const modules::NativeFrame> frames,
                                              std::span<const NativeActivation> activations,
                                              std::span<const PythonSegment> segments,
                                              const modules::CodeMap& modules);

}  // namespace pystack::merge
