#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/address.h"

namespace pystack::merge {

/// A frame of the native stack, as far as merging is concerned.
struct NativeActivation {
    RemoteAddr sp;         ///< It owns the stack from here to the sp of its caller.
    bool is_loop = false;  ///< By its name it is the interpreter loop.
};

/// Python frames that one activation of the interpreter loop runs, one calling the other.
struct PythonSegment {
    std::size_t thread = 0;  ///< The caller's number of the thread state that has the frames.
    std::size_t begin = 0;   ///< Of its frames, which are innermost first.
    std::size_t end = 0;
    /// An address that lies in the stack frame of the activation; absent where the version leaves
    /// no such trace.
    std::optional<RemoteAddr> anchor;
};

struct MergedFrame {
    enum class Kind : std::uint8_t {
        kPython,  ///< `index` is of the frames of `thread`.
        kNative,  ///< `index` is of the native frames.
        kLoop,    ///< The same; it runs the Python frames that come before it in the list.
        kGap,     ///< Native frames are missing here; `index` is of the one that comes next.
    };
    Kind kind = Kind::kNative;
    std::size_t index = 0;
    std::size_t thread = 0;

    bool operator==(const MergedFrame&) const = default;
};

struct MergedStack {
    std::vector<MergedFrame>
        frames;  ///< Innermost first. Every frame that was given is in it once.
    /// Segments of which nobody knows between which native frames they belong. They are in the list
    /// all the same, at their place among the Python frames, with a gap in the place of
    /// their callers.
    std::size_t unplaced = 0;
};

/// Puts Python frames between the native frames that called them and those that they called.
///
/// Where segments have anchors, a segment belongs to the native frame whose stack holds its anchor:
/// this needs no names, and works as well for the part of a stack that could be unwound. Without
/// any anchors the n-th segment belongs to the n-th native frame that is the loop by its name,
/// counted from the outermost one, or from the innermost one if the outermost are missing.
///
/// Both lists are innermost first. `complete`: the native stack goes to the end of the thread.
MergedStack merge_stacks(std::span<const NativeActivation> natives, bool complete,
                         std::span<const PythonSegment> segments);

}  // namespace pystack::merge
