#include "cpython/frames/paged_frames.h"

#include <algorithm>
#include <array>

#include "base/pages.h"

namespace pystack::cpython {

namespace {

/// Callers usually lie below their callees, so a fault also fetches this much below.
constexpr std::uint64_t kFetchBelow = 4 * kPageSize;
/// The most that is kept: a chain that jumps through memory does not come back to old pages.
constexpr std::size_t kMostKept = 16 << 20;

}  // namespace

const std::byte* PagedFrames::view(RemoteRange range) {
    if (range.size() == 0) return nullptr;  // Beyond the end of the address space.
    if (const auto held = pages_.view(range.begin, range.size())) return held->data();
    const RemoteAddr end{page_end(range.end.value)};
    const RemoteAddr page{page_begin(range.begin.value)};
    const RemoteAddr below{page.value - std::min(page.value, kFetchBelow)};
    if (pages_.size_bytes() > kMostKept) pages_.clear();
    // In two pieces: the pages below may be unmapped, which must not cost the page itself.
    const std::array<RemoteRange, 2> wanted{RemoteRange{page, end}, RemoteRange{below, page}};
    pages_.fetch(wanted);
    const auto held = pages_.view(range.begin, range.size());
    return held ? held->data() : nullptr;
}

}  // namespace pystack::cpython
