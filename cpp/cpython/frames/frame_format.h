#pragma once

#include <cstdint>
#include <span>

#include "base/address.h"
#include "cpython/layout/layout.h"

namespace pystack::cpython {

/// One frame of the interpreter as it stands in memory, before its code object is looked at.
struct RawFrame {
    RemoteAddr address;
    RemoteAddr code;  ///< PyCodeObject*; meaningless when `shim`.
    std::uint64_t instruction =
        0;  ///< See Layout::instruction: an address, or f_lasti sign-extended.
    std::int32_t tlbc_index =
        0;  ///< Which copy of the bytecode runs (free-threaded 3.14+), else 0.
    std::uint8_t owner = 0;
    bool shim =
        false;  ///< Marks one C-level activation of the interpreter loop; runs no Python code.
    bool is_entry = false;  ///< 3.11: the first frame of an activation.
    /// The frame is alive and may be a caller. From 3.11: the interpreter loop has left it for
    /// another and saved its stack pointer, which it clears when it comes back [StackTop]; 3.14
    /// also saves it around calls of C functions. Below: it is marked as executing, which a frame
    /// that has returned and waits to be used again is not.
    bool calls = true;
    /// 3.10: nobody runs it. generator.throw() links a suspended generator into the chain while it
    /// hands the exception on to the generator that this one waits for.
    bool suspended = false;
    /// Compiled code runs it (Nuitka makes such frames), not the interpreter loop: it is part of a
    /// frame object that has the current line, and its instruction never moves.
    bool compiled = false;
    /// Of a compiled frame: the distance from its frame object. 0 below 3.11, where they are one.
    std::uint8_t object_distance = 0;
    /// Of a compiled frame: the line that it executes. 0 if it has none.
    std::int32_t line = 0;

    bool operator==(const RawFrame&) const = default;
};

/// Where the things that tell a stack are in the bytes of a frame and of a thread state. Offsets
/// were checked with the layout, so taking fields from a whole header needs no checks and no
/// branches for what is absent.
class FrameFormat {
  public:
    /// thread() never covers more.
    static constexpr std::uint64_t kMostThreadBytes = 2048;

    explicit FrameFormat(const Layout& layout);

    /// Offsets of the part of a frame that is read.
    RemoteRange header() const { return header_; }
    /// Offsets of the part of a thread state that is read: its links, ids and state, and where its
    /// stack is.
    RemoteRange thread() const { return thread_; }

    RemoteRange header_at(RemoteAddr frame) const { return at(frame, header_); }
    RemoteRange thread_at(RemoteAddr thread_state) const { return at(thread_state, thread_); }

    /// All bytes that tell what a frame executes: its header and, in front of it, the part of its
    /// frame object that is read if the frame is compiled.
    RemoteRange extent(const RawFrame& frame) const {
        RemoteRange range = header_at(frame.address);
        range.begin.value -= lead(frame);
        return range;
    }
    /// How many bytes of the extent precede the header.
    std::uint64_t lead(const RawFrame& frame) const {
        return frame.object_distance == 0
                   ? 0
                   : frame.object_distance + header_.begin.value - object_.begin.value;
    }
    std::uint64_t extent_size(const RawFrame& frame) const { return header_.size() + lead(frame); }

    /// `header` holds header().size() bytes. Null when they can be a frame, else what is wrong with
    /// them.
    const char* parse(RemoteAddr address, const std::byte* header, RawFrame& frame,
                      RemoteAddr& previous) const;
    /// `extent` holds the extent of a frame with a lead. Sets its line. Null when the frame object
    /// belongs to the frame, else what is wrong.
    const char* parse_object(const std::byte* extent, RawFrame& frame) const;

    /// `thread` holds thread().size() bytes. The innermost frame, or the C frame that points to it.
    RemoteAddr top(const std::byte* thread) const;
    bool top_is_cframe() const { return layout_.frame_chain == FrameChain::kCFrame; }
    bool frames_are_objects() const { return layout_.frame_chain == FrameChain::kFrameObject; }
    /// Whether a thread with this C frame, and no frame in it, runs no Python code: that is so of
    /// the one inside of the thread state. Any other is on its way to its first frame.
    bool may_be_empty(RemoteAddr thread_state, RemoteAddr cframe) const {
        return cframe >= thread_state && cframe < thread_state + layout_.thread_state.struct_size;
    }
    /// Where the pointer to the innermost frame is in a C frame.
    RemoteRange current_frame_of(RemoteAddr cframe) const {
        const RemoteAddr place = cframe + *layout_.cframe.current_frame;
        return {place, place + 8};
    }
    /// From now on the part of a thread state that is read holds the running task as well, whose
    /// offset this is. False when that is too far from the rest.
    bool add_running_task(std::uint32_t offset);
    /// The asyncio task that the thread runs; null where there is none, or it is not read.
    RemoteAddr running_task(const std::byte* thread) const;
    /// Where the data stack may grow to without a new chunk; null where there is no such stack.
    RemoteAddr data_stack_limit(const std::byte* thread) const;
    /// Two readings of a thread state that are equal in all that moves when the thread calls or
    /// returns.
    bool same_place(const std::byte* one, const std::byte* other) const;
    /// Two readings of a thread state are of the same thread.
    bool same_thread(const std::byte* one, const std::byte* other) const;
    /// Two readings of a thread state point to the same C frame, where there are C frames.
    bool same_chain(const std::byte* one, const std::byte* other) const;
    /// Two readings of a frame that are equal in what it is, not in where it runs.
    bool same_identity(const std::byte* one, const std::byte* other) const;

    /// Whether a frame looks as it does after it has returned. A running one looks so for a moment:
    /// before it calls, and in 3.11 while its variables are freed.
    bool looks_returned(const RawFrame& frame, const std::byte* header) const;

    /// Whether a chain of frames can end here. A generator that yields is unlinked from its caller
    /// an instruction before it stops being the current frame: a thread may be seen in between.
    bool is_outermost(const RawFrame& frame) const;

    /// Whether the frame lives in a generator or coroutine; not known below 3.11.
    bool is_generator(const RawFrame& frame) const {
        return !frames_are_objects() && !frame.compiled && frame.owner == layout_.generator_owner;
    }
    /// Whether the frame's memory is the thread's data stack, where its callers are below it.
    bool on_data_stack(const RawFrame& frame) const {
        return !frames_are_objects() && !frame.shim && !frame.compiled &&
               frame.owner != layout_.generator_owner;
    }

  private:
    static RemoteRange at(RemoteAddr base, RemoteRange offsets) {
        return {base + offsets.begin.value, base + offsets.end.value};
    }

    void find_maker(const std::byte* header, RawFrame& frame) const;

    const Layout layout_;
    RemoteRange header_;
    RemoteRange object_;  ///< Offsets of the part of a frame object that is read.
    RemoteRange thread_;
    FieldOffset running_task_;
};

}  // namespace pystack::cpython
