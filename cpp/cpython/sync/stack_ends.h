#pragma once

#include <cstddef>
#include <span>

#include "cpython/frames/code_reader.h"
#include "cpython/frames/frame_format.h"

namespace pystack::cpython {

/// Frames of one stack that are looked at, at each of its ends: a lock is held by one of these, or
/// its holder stays unknown.
inline constexpr std::size_t kMostEndFrames = 2000;

/// The frames at the ends of a stack that run Python code, innermost first.
template <class Visit>
void for_each_end(std::span<const RawFrame> frames, Visit visit) {
    for (std::size_t i = 0; i < frames.size(); ++i) {
        if (i == kMostEndFrames && frames.size() > 2 * kMostEndFrames)
            i = frames.size() - kMostEndFrames;
        if (!frames[i].shim) visit(i);
    }
}

/// The code object of a frame; null if it was not read, or cannot be.
inline const Code* code_of(const CodeReader& codes, const RawFrame& frame) {
    const Code* code = frame.shim ? nullptr : codes.find(frame.code);
    return code == nullptr || code->problem ? nullptr : code;
}

/// Those of these frames whose code is known.
template <class Visit>
void for_each_code(const CodeReader& codes, std::span<const RawFrame> frames, Visit visit) {
    for_each_end(frames, [&](std::size_t i) {
        if (const Code* code = code_of(codes, frames[i])) visit(*code, frames[i]);
    });
}

}  // namespace pystack::cpython
