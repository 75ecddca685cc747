#include "merge/thread_merge.h"

#include <algorithm>

#include "merge/activations.h"
#include "merge/greenlets.h"

namespace pystack::merge {

std::string ThreadStack::gap_reason(std::size_t index, const std::string& place,
                                    bool is_stack_readable) const {
    if (is_missing) return "the thread's registers could not be read";
    if (index != frames.size()) return "the native callers of these Python frames are unknown";
    switch (end.end) {
        case modules::UnwindEnd::kNoUnwindInfo:
            return "no unwind information for " + place;
        case modules::UnwindEnd::kCutStack:
            return is_stack_readable ? "only part of the stack was copied"
                                     : "part of the stack cannot be read";
        case modules::UnwindEnd::kDepthLimit:
            return "only the innermost " + std::to_string(frames.size()) +
                   " native frames were read";
        case modules::UnwindEnd::kLoop:
            return "corrupt stack above " + place;
        case modules::UnwindEnd::kComplete:
            break;
    }
    return "the native callers of the following Python frames are unknown";
}

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
    for (const modules::NativeFrame& frame : stack.frames) {
        activations.push_back({.sp = frame.sp, .is_loop = by_name && names.is_loop(frame)});
    }
    if (const auto count =
            frames_of_greenlet(stack.frames, activations, segments, unwinder.code_map())) {
        stack.frames.resize(*count);
        activations.resize(*count);
        stack.end = {modules::UnwindEnd::kComplete, stack.frames.back().pc};
    }
    stack.merged = merge_stacks(activations, stack.is_complete(), segments);
    return stack;
}

}  // namespace pystack::merge
