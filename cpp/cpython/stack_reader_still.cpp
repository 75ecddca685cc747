// The part of StackReader for a target that stands still, or a core: what is read once can be
// trusted.

#include <algorithm>
#include <array>
#include <cstring>

#include "cpython/cycle_check.h"
#include "cpython/stack_reader.h"

namespace pystack::cpython {

namespace {

using model::StackEnd;

constexpr std::uint64_t kPage = 4096;
/// Frames of one thread lie behind each other and are walked downwards, so a fault fetches this
/// much below.
constexpr std::uint64_t kFetchBelow = 4 * kPage;

}  // namespace

/// Bytes of a target that stands still: fetched by pages when they are not there yet.
class StackReader::StillSource {
  public:
    explicit StillSource(memory::MemoryCopy& pages) : pages_(pages) {}

    Result<std::span<const std::byte>> view(RemoteRange range) {
        if (const auto held = pages_.view(range.begin, range.size())) return *held;
        const RemoteAddr end{(range.end.value + kPage - 1) & ~(kPage - 1)};
        const RemoteAddr page{range.begin.value & ~(kPage - 1)};
        const RemoteAddr below{page.value - std::min(page.value, kFetchBelow)};
        // In two pieces: what lies below may be unmapped, which must not cost the page itself.
        const std::array<RemoteRange, 2> wanted{RemoteRange{page, end}, RemoteRange{below, page}};
        pages_.fetch(wanted);
        if (const auto held = pages_.view(range.begin, range.size())) return *held;
        return fail(read_fault(range.begin, range.size()));
    }

  private:
    memory::MemoryCopy& pages_;
};

StackOutcome StackReader::read_still(RemoteAddr thread_state, std::vector<RawFrame>& frames) {
    pages_.clear();
    frames.clear();
    StillSource source(pages_);
    return walk_still(source, thread_state, frames);
}

StackOutcome StackReader::walk_still(StillSource& source, RemoteAddr thread_state,
                                     std::vector<RawFrame>& frames) {
    const auto thread = source.view(format_.thread_at(thread_state));
    if (!thread) return StackOutcome::unreadable(thread.error());
    RemoteAddr next = format_.top(thread->data());
    found_limit_ = format_.data_stack_limit(thread->data());
    found_cframe_ = {};
    if (format_.top_is_cframe() && next) {
        const RemoteAddr cframe = next;
        found_cframe_ = format_.current_frame_of(next);
        const auto pointer = source.view(found_cframe_);
        if (!pointer) return StackOutcome::unreadable(pointer.error());
        std::memcpy(&next.value, pointer->data(), sizeof(next.value));
        if (!next && !format_.may_be_empty(thread_state, cframe))
            return StackOutcome::unreadable(corrupt("C frame", cframe));
    }
    CycleCheck cycle;
    while (next) {
        if (frames.size() >= max_depth_) return {.end = StackEnd::kDepthLimit, .problem = {}};
        if (next.value % alignof(void*) != 0 || cycle.seen(next)) {
            return StackOutcome::unreadable(corrupt("chain of frames", next));
        }
        const auto header = source.view(format_.header_at(next));
        if (!header) return StackOutcome::unreadable(header.error());
        RawFrame frame;
        RemoteAddr previous;
        if (const char* wrong = format_.parse(next, header->data(), frame, previous)) {
            return StackOutcome::unreadable(corrupt(wrong, next));
        }
        frames.push_back(frame);
        next = previous;
    }
    if (!frames.empty() && !format_.is_outermost(frames.back()))
        return StackOutcome::unreadable(cut_chain(frames.back()));
    return {.end = frames.empty() ? StackEnd::kNoPython : StackEnd::kComplete, .problem = {}};
}

}  // namespace pystack::cpython
