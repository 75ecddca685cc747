#pragma once

#include <cstddef>

#include "base/address.h"
#include "memory/memory_copy.h"

namespace pystack::cpython {

/// The frames of a stopped target or a core, for FrameChainWalker. Copies the pages that a walk
/// needs when it needs them. Reuses its buffers. Not thread-safe.
class PagedFrames {
  public:
    /// `memory` must outlive it.
    explicit PagedFrames(const memory::MemoryReader& memory) : pages_(memory) {}

    /// Forgets all pages: the target may have run since they were copied.
    void clear() { pages_.clear(); }

    /// See FrameSource.
    const std::byte* view(RemoteRange range);
    bool is_torn() const { return false; }

  private:
    memory::MemoryCopy pages_;
};

}  // namespace pystack::cpython
