#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "capture/native_names.h"
#include "capture/stack_copies.h"
#include "capture/stack_merge.h"
#include "cpython/frame_format.h"
#include "cpython/layout.h"
#include "unwind/native_unwinder.h"

namespace pystack::capture {

/// The Python frames of one thread state that runs on a system thread.
struct StateFrames {
    std::size_t thread = 0;                     ///< The caller's number of it.
    std::span<const cpython::RawFrame> frames;  ///< Innermost first.
    RemoteAddr c_frame;                         ///< See StackCopies::c_frame.
};

/// The native stack of one system thread, with the Python frames in their places.
struct ThreadStack {
    bool is_missing = false;                  ///< It was not copied.
    std::vector<unwind::NativeFrame> frames;  ///< Innermost first.
    unwind::UnwindResult end;
    MergedStack merged;

    bool is_complete() const { return !is_missing && end.end == unwind::UnwindEnd::kComplete; }
};

/// Unwinds and merges; needs no target that stands still. `copied` may be null. `stack` is what its
/// stack is read from: see unwind::NativeUnwinder::unwind.
ThreadStack merge_thread(const StackCopies::Thread* copied, const memory::MemoryReader& stack,
                         std::span<const StateFrames> states, const cpython::Layout& layout,
                         unwind::NativeUnwinder& unwinder, NativeNames& names);

}  // namespace pystack::capture
