#pragma once

#include <optional>
#include <unordered_map>
#include <vector>

#include "cpython/frames/frame_format.h"
#include "cpython/tasks/asyncio_offsets.h"
#include "memory/page_cache.h"
#include "snapshot/loop_times.h"
#include "snapshot/raw_snapshot.h"
#include "target/live_target.h"

namespace pystack::snapshot {

/// Reads the asyncio tasks of a target into RawSnapshot::tasks. To follow thousands of chains takes
/// longer than to copy the memory that they lie in, so a live target is read in three steps:
///
///     tasks.rehearse(raw);       // it runs: what comes of this is forgotten, but not which pages
///                                // of its memory it took
///     tasks.copy(raw);           // it stands still: these pages
///     tasks.read_copy(raw);      // it runs again
///
class TasksCapture {
  public:
    TasksCapture(const memory::MemoryReader& memory, const cpython::Layout& layout,
                 cpython::CodeReader& codes)
        : pages_(memory), loop_times_(memory, layout, codes) {}

    void rehearse(RawSnapshot& raw);
    void copy(RawSnapshot& raw);
    /// False: something was not in the copy, because it is newer than the rehearsal. Then only
    /// read() will do.
    bool read_copy(RawSnapshot& raw);
    /// Of a target that stands still all the time.
    void read(RawSnapshot& raw);
    /// Of a target that is not stopped: what is read counts if no thread ran meanwhile. It is tried
    /// for a moment; then there are no tasks, and a problem.
    void read_running(RawSnapshot& raw, const target::LiveTarget& target);

  private:
    bool find_asyncio(RawSnapshot& raw, const cpython::WalkedInterpreters& walked);
    /// False: code objects are not known.
    bool read_pages(RawSnapshot& raw, const cpython::WalkedInterpreters& walked, WorkLimits& limits,
                    bool may_load);

    memory::PageCache pages_;
    LoopTimes loop_times_;
    std::unordered_map<std::size_t, double> returned_s_;  ///< As LoopTimes::read().
    std::optional<cpython::AsyncioOffsets> offsets_;
    bool has_asyncio_ = false;                    ///< If not, there are no tasks.
    std::vector<cpython::RawFrame> code_frames_;  ///< One of each code object.
};

}  // namespace pystack::snapshot
