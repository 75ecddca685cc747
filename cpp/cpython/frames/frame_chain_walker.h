#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>

#include "base/cycle_detector.h"
#include "base/error.h"
#include "cpython/frames/frame_format.h"
#include "cpython/frames/stack_outcome.h"
#include "model/snapshot.h"

namespace pystack::cpython {

/// Gives a FrameChainWalker the bytes of a target.
template <class Source>
concept FrameSource = requires(Source source, RemoteRange range) {
    // The bytes of a range, valid until the next call; null if they cannot be read.
    { source.view(range) } -> std::same_as<const std::byte*>;
    // Whether the bytes that view() returned last changed while they were read.
    { source.is_torn() } -> std::same_as<bool>;
};

/// A source that may know the callers of a frame, so that the walk can stop there.
template <class Source>
concept KnowsCallers = requires(Source source, RemoteAddr frame, std::size_t room) {
    // How the stack ends, if the source knows the frame that view() returned last and all its
    // callers, and these are at most `room` frames. The walk does not visit them.
    { source.known_end(frame, room) } -> std::same_as<std::optional<model::StackEnd>>;
};

/// Walks the chain of frames of one thread, from the innermost frame out. A template, because a
/// sampler walks a stack in less than a microsecond. `format` must outlive the walker.
class FrameChainWalker {
  public:
    /// What a thread state says about its stack.
    struct Start {
        RemoteAddr thread_state;
        /// The innermost frame, or the C frame that points to it; null if there is neither.
        RemoteAddr top;
        /// The C frame's pointer to the innermost frame; empty if `top` is not a C frame.
        RemoteRange cframe;
        /// The end of the data stack's chunk; null if the version has no data stack.
        RemoteAddr data_stack_limit;
    };

    explicit FrameChainWalker(const FrameFormat& format) : format_(format) {}

    /// `bytes`: format.thread() of the thread state.
    Start start(RemoteAddr thread_state, const std::byte* bytes) const {
        Start start{.thread_state = thread_state,
                    .top = format_.top(bytes),
                    .cframe = {},
                    .data_stack_limit = format_.data_stack_limit(bytes)};
        if (format_.top_is_cframe() && start.top)
            start.cframe = format_.current_frame_of(start.top);
        return start;
    }

    /// Calls `visit` for each frame, at most `most` times. Returns how the stack ends:
    /// - kComplete: the last frame is one that can be the outermost;
    /// - kNoPython: the thread runs no Python code;
    /// - kDepthLimit: there are more than `most` frames;
    /// - kUnreadable, with the problem: the chain is damaged, is a cycle, ends where no chain can
    ///   end, or leads to bytes that the source does not have (kReadFault). The frames that were
    ///   visited so far may be true.
    template <FrameSource Source, std::invocable<const RawFrame&> Visit>
    StackOutcome walk(const Start& start, Source& source, std::size_t most, Visit visit) const {
        using model::StackEnd;
        RemoteAddr next = start.top;
        if (format_.top_is_cframe() && next) {
            const std::byte* const pointer = source.view(start.cframe);
            if (pointer == nullptr) return unread(start.cframe);
            if (source.is_torn())
                return StackOutcome::unreadable(corrupt("C frame", start.cframe.begin));
            std::memcpy(&next.value, pointer, sizeof(next.value));
            if (!next && !format_.may_be_empty(start.thread_state, start.top))
                return StackOutcome::unreadable(corrupt("C frame", start.top));
        }
        if (!next) return {.end = StackEnd::kNoPython, .problem = {}};
        CycleDetector cycle;
        RawFrame frame;
        for (std::size_t depth = 0; next; ++depth) {
            if (depth >= most) return {.end = StackEnd::kDepthLimit, .problem = {}};
            if (next.value % alignof(void*) != 0 || cycle.seen(next))
                return StackOutcome::unreadable(corrupt("chain of frames", next));
            const RemoteRange range = format_.header_at(next);
            const std::byte* const header = source.view(range);
            if (header == nullptr) return unread(range);
            if constexpr (KnowsCallers<Source>) {
                if (const auto end = source.known_end(next, most - depth))
                    return {.end = *end, .problem = {}};
            }
            RemoteAddr previous;
            if (const char* wrong = format_.parse(next, header, frame, previous))
                return StackOutcome::unreadable(corrupt(wrong, next));
            if (frame.object_distance != 0) {
                const RemoteRange extent = format_.extent(frame);
                const std::byte* const bytes = source.view(extent);
                if (bytes == nullptr) return unread(extent);
                if (const char* wrong = format_.parse_object(bytes, frame))
                    return StackOutcome::unreadable(corrupt(wrong, next));
            }
            visit(frame);
            next = previous;
        }
        if (!format_.is_outermost(frame)) {
            return StackOutcome::unreadable(
                corrupt("link to the caller of a frame", frame.address));
        }
        return {.end = StackEnd::kComplete, .problem = {}};
    }

  private:
    static StackOutcome unread(RemoteRange range) {
        return StackOutcome::unreadable(read_fault(range.begin, range.size()));
    }

    const FrameFormat& format_;
};

}  // namespace pystack::cpython
