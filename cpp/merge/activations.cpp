#include "merge/activations.h"

#include <cstddef>
#include <unordered_map>

namespace pystack::merge {

namespace {

using cpython::EntryMark;
using cpython::RawFrame;

/// 3.11: a C frame names the innermost frame of its activation, which runs the frames from there to
/// the one that the next C frame names. One that names none of them is of an activation that has
/// just begun.
std::vector<PythonSegment> split_by_c_frames(const cpython::Layout& layout,
                                             std::span<const RawFrame> frames, RemoteAddr c_frame,
                                             const memory::MemoryReader& stack) {
    std::vector<PythonSegment> segments;
    const auto& fields = layout.cframe;
    if (!fields.current_frame || !fields.previous) return segments;
    std::unordered_map<RemoteAddr, std::size_t> places;
    for (std::size_t i = 0; i < frames.size(); ++i) places.emplace(frames[i].address, i);
    while (c_frame) {
        const auto current = stack.read_pointer(c_frame + *fields.current_frame);
        const auto previous = stack.read_pointer(c_frame + *fields.previous);
        if (!current || !previous) break;
        const auto place = places.find(*current);
        const bool goes_out =
            segments.empty() || place == places.end() || place->second > segments.back().begin;
        if (!goes_out) break;
        if (place != places.end()) {
            if (!segments.empty()) segments.back().end = place->second;
            segments.push_back({.begin = place->second, .end = frames.size(), .anchor = c_frame});
        }
        // The C stack grows down: a chain that does not go up has left it, or is none.
        if (*previous <= c_frame) break;
        c_frame = *previous;
    }
    return segments;
}

}  // namespace

std::vector<PythonSegment> split_into_activations(const cpython::Layout& layout,
                                                  std::span<const RawFrame> frames,
                                                  RemoteAddr c_frame,
                                                  const memory::MemoryReader& stack,
                                                  std::size_t thread) {
    std::vector<PythonSegment> segments;
    if (layout.entry_mark == EntryMark::kIsEntry) {
        segments = split_by_c_frames(layout, frames, c_frame, stack);
        for (PythonSegment& segment : segments) segment.thread = thread;
        if (!segments.empty() && segments.front().begin == 0) return segments;
        segments.clear();  // Without them it can be told only what belongs together.
    }
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
                if (!frames[i].is_entry || frames[i].compiled) continue;
                add(i + 1);
                break;
            case EntryMark::kNone:
                if (frames[i].suspended || frames[i].compiled) continue;
                add(i + 1);
                break;
        }
        begin = i + 1;
    }
    add(frames.size());  // A chain that was cut.
    return segments;
}

}  // namespace pystack::merge
