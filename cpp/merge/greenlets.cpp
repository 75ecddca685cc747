#include "merge/greenlets.h"

#include <algorithm>

#include "cpython/runtime/greenlet_library.h"

namespace pystack::merge {

namespace {

/// Behind the frame that runs the outermost Python frames.
std::size_t behind_python(std::span<const NativeActivation> activations,
                          std::span<const PythonSegment> segments) {
    RemoteAddr outermost;
    for (const PythonSegment& segment : segments)
        outermost = std::max(outermost, segment.anchor.value_or(RemoteAddr{}));
    std::size_t loops = 0;
    for (std::size_t i = 0; i < activations.size(); ++i) {
        if (activations[i].is_loop) ++loops;
        const bool is_last = outermost ? activations[i].sp > outermost : loops == segments.size();
        if (is_last) return outermost ? i : i + 1;
    }
    return activations.size();
}

}  // namespace

std::optional<std::size_t> frames_of_greenlet(std::span<const modules::NativeFrame> frames,
                                              std::span<const NativeActivation> activations,
                                              std::span<const PythonSegment> segments,
                                              const modules::CodeMap& modules) {
    if (segments.empty()) return std::nullopt;
    const auto is_greenlet = [&](const modules::NativeFrame& frame) {
        return frame.module != modules::kNoModule &&
               cpython::is_greenlet_library(modules.path(frame.module));
    };
    const auto behind = frames.subspan(behind_python(activations, segments));
    const auto start = std::ranges::find_if(behind, is_greenlet);
    if (start == behind.end()) return std::nullopt;
    return static_cast<std::size_t>(start - behind.begin()) + (frames.size() - behind.size()) + 1;
}

}  // namespace pystack::merge
