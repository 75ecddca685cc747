#pragma once

#include <cstddef>
#include <span>

#include "cpython/frames/code_reader.h"
#include "cpython/layout/layout.h"
#include "cpython/objects/value_types.h"
#include "cpython/sync/frame_objects.h"
#include "cpython/sync/held_objects.h"
#include "cpython/sync/lock_finder.h"
#include "cpython/sync/stack_ends.h"
#include "cpython/sync/wait_finder.h"
#include "memory/memory_reader.h"
#include "memory/page_cache.h"

namespace pystack::cpython {

/// What reads the locks of one program, through one copy of its memory. The copy must be cleared
/// before anything is read that may have changed.
struct SyncReaders {
    /// `memory` and `codes` must outlive this.
    SyncReaders(const memory::MemoryReader& memory, const Layout& layout_of, CodeReader& codes)
        : layout(layout_of),
          pages(memory),
          types(pages, layout),
          locks(pages, layout, types),
          objects(layout, codes),
          finder(pages, layout, codes, objects, types, locks),
          held(pages, layout, codes, objects, types, locks) {}
    SyncReaders(const SyncReaders&) = delete;
    SyncReaders& operator=(const SyncReaders&) = delete;

    /// To be called before the others are asked about the frames. `from`: the memory to read what
    /// is not known of their code, which does not change.
    void load(const memory::MemoryReader& from, const CodeReader& codes,
              std::span<const RawFrame> frames) {
        for_each_code(codes, frames,
                      [&](const Code& code, const RawFrame&) { objects.load(from, code); });
    }

    const Layout layout;
    memory::PageCache pages;
    TypeCache types;
    LockFinder locks;
    FrameObjects objects;
    WaitFinder finder;
    HeldObjects held;
};

}  // namespace pystack::cpython
