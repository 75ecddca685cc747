#include "capture/activations.h"

namespace pystack::capture {

namespace {

using cpython::EntryMark;
using cpython::RawFrame;

/// Each C frame names the innermost frame of its activation; one that names none of them belongs to
/// an activation that has just begun.
void add_c_frames(const cpython::Layout& layout, std::span<const RawFrame> frames,
                  RemoteAddr c_frame, const memory::MemoryReader& stack,
                  std::vector<PythonSegment>& segments) {
    const auto& fields = layout.cframe;
    if (!fields.current_frame || !fields.previous) return;
    std::size_t next = 0;
    while (c_frame && next < segments.size()) {
        const auto current = stack.read_pointer(c_frame + *fields.current_frame);
        const auto previous = stack.read_pointer(c_frame + *fields.previous);
        if (!current || !previous) return;
        if (*current == frames[segments[next].begin].address) segments[next++].anchor = c_frame;
        // The C stack grows down, so a chain that does not go up is none.
        if (*previous <= c_frame) return;
        c_frame = *previous;
    }
}

}  // namespace

std::vector<PythonSegment> split_into_activations(const cpython::Layout& layout,
                                                  std::span<const RawFrame> frames,
                                                  RemoteAddr c_frame,
                                                  const memory::MemoryReader& stack,
                                                  std::size_t thread) {
    std::vector<PythonSegment> segments;
    std::size_t begin = 0;
    const auto add = [&](std::size_t end) -> PythonSegment* {
        if (begin == end) return nullptr;
        return &segments.emplace_back(PythonSegment{.thread = thread, .begin = begin, .end = end});
    };
    for (std::size_t i = 0; i < frames.size(); ++i) {
        switch (layout.entry_mark) {
            case EntryMark::kOwner:
                if (!frames[i].shim) continue;
                if (PythonSegment* segment = add(i)) segment->anchor = frames[i].address;
                break;
            case EntryMark::kIsEntry:
                if (!frames[i].is_entry) continue;
                [[fallthrough]];
            case EntryMark::kNone:
                add(i + 1);
                break;
        }
        begin = i + 1;
    }
    add(frames.size());  // A chain that was cut.
    if (layout.entry_mark == EntryMark::kIsEntry) {
        add_c_frames(layout, frames, c_frame, stack, segments);
    }
    return segments;
}

}  // namespace pystack::capture
