#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "cpython/frames/frame_format.h"
#include "cpython/layout/layout.h"
#include "merge/native_names.h"
#include "merge/stack_copies.h"
#include "merge/stack_merge.h"
#include "unwind/native_unwinder.h"

namespace pystack::merge {

/// The Python frames of one thread state that runs on a system thread.
struct StateFrames {
    std::size_t thread = 0;                     ///< The caller's number of it.
    std::span<const cpython::RawFrame> frames;  ///< Innermost first.
    RemoteAddr c_frame;                         ///< See StackCopies::c_frame.
};

/// The native stack of one system thread, with the Python frames in their places.
struct ThreadStack {
    bool is_missing = false;                   ///< It was not copied.
    std::vector<modules::NativeFrame> frames;  ///< Innermost first.
    modules::UnwindResult end;
    MergedStack merged;

    /// Why native frames are missing at a gap with this index. `place` names the code at which the
    /// unwinding ended; `is_stack_readable`: whether the stack goes on there.
    std::string gap_reason(std::size_t index, const std::string& place,
                           bool is_stack_readable) const;

    bool is_complete() const { return !is_missing && end.end == modules::UnwindEnd::kComplete; }
};

/// Unwinds and merges; needs no target that stands still. `copied` may be null. `stack` is what its
/// stack is read from: see unwind::NativeUnwinder::unwind.
ThreadStack merge_thread(const StackCopies::Thread* copied, const memory::MemoryReader& stack,
                         std::span<const StateFrames> states, const cpython::Layout& layout,
                         unwind::NativeUnwinder& unwinder, NativeNames& names);

}  // namespace pystack::merge
