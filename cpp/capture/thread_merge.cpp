#include "capture/thread_merge.h"

#include <algorithm>

#include "capture/activations.h"

namespace pystack::capture {

ThreadStack merge_thread(const StackCopies::Thread* copied, const memory::MemoryReader& memory,
                         std::span<const StateFrames> states, const cpython::Layout& layout,
                         unwind::NativeUnwinder& unwinder, NativeNames& names) {
    ThreadStack stack{.is_missing = copied == nullptr};
    if (copied != nullptr) {
        stack.end = unwinder.unwind(copied->registers, memory, {}, stack.frames);
    }
    std::vector<PythonSegment> segments;
    for (const StateFrames& state : states) {
        const auto more =
            split_into_activations(layout, state.frames, state.c_frame, memory, state.thread);
        segments.insert(segments.end(), more.begin(), more.end());
    }
    // One thread in several interpreters: who was called last lies lowest.
    const auto has_anchor = [](const PythonSegment& segment) { return segment.anchor.has_value(); };
    if (states.size() > 1 && std::all_of(segments.begin(), segments.end(), has_anchor)) {
        std::stable_sort(segments.begin(), segments.end(),
                         [](const auto& a, const auto& b) { return *a.anchor < *b.anchor; });
    }
    const bool by_name =
        !segments.empty() && std::none_of(segments.begin(), segments.end(), has_anchor);
    std::vector<NativeActivation> activations;
    for (const unwind::NativeFrame& frame : stack.frames) {
        activations.push_back({.sp = frame.sp, .is_loop = by_name && names.is_loop(frame)});
    }
    stack.merged = merge_stacks(activations, stack.is_complete(), segments);
    return stack;
}

}  // namespace pystack::capture
