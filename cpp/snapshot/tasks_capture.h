#pragma once

#include <optional>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "cpython/frames/frame_format.h"
#include "cpython/tasks/asyncio_offsets.h"
#include "cpython/tasks/greenlet_search.h"
#include "memory/page_cache.h"
#include "snapshot/frame_variable.h"
#include "snapshot/loop_times.h"
#include "snapshot/raw_snapshot.h"

namespace pystack::snapshot {

/// Reads the tasks of asyncio and trio, and the greenlets, of a target into RawSnapshot::tasks. To
/// follow thousands of chains takes longer than to copy the memory that they lie in, so a live
/// target is read in three steps:
///
///     tasks.rehearse(raw);       // it runs: what comes of this is to be forgotten
///                                // (raw.clear_tasks()), but not which pages of its memory it took
///     tasks.copy(raw);           // it stands still: these pages
///     tasks.read_copy(raw);      // it runs again
///
class TasksCapture {
  public:
    TasksCapture(const memory::MemoryReader& memory, const cpython::Layout& layout,
                 cpython::CodeReader& codes)
        : pages_(memory),
          loop_times_(memory, layout, codes),
          runners_(memory, layout, codes,
                   {.file = "trio/_core/_run.py", .function = "run", .variable = "runner"}) {}

    void rehearse(RawSnapshot& raw);
    void copy(RawSnapshot& raw);
    /// False: something was not in the copy, because it is newer than the rehearsal. Then only
    /// read() will do.
    bool read_copy(RawSnapshot& raw);
    /// Of a target that stands still all the time.
    void read(RawSnapshot& raw);
    /// After one of the others: whether a library was imported that has tasks.
    bool has_library() const { return has_asyncio_ || has_trio_ || has_greenlet_; }

  private:
    bool find_libraries(RawSnapshot& raw, const cpython::WalkedInterpreters& walked);
    void find_greenlets(const RawSnapshot& raw);
    void find_code(RawSnapshot& raw);
    void read_threads(RawSnapshot& raw);
    void add_threads(cpython::RawTasks& asyncio, cpython::RawTasks& trio) const;
    cpython::RawTasks read_greenlets(const RawSnapshot& raw, WorkLimits& limits) const;
    void note_code(const cpython::RawTasks& tasks);
    /// False: code objects are not known.
    bool read_pages(RawSnapshot& raw, const cpython::WalkedInterpreters& walked, WorkLimits& limits,
                    bool may_load);

    memory::PageCache pages_;
    LoopTimes loop_times_;
    FrameVariable runners_;
    std::unordered_map<std::size_t, double> returned_s_;        ///< As LoopTimes::read().
    std::unordered_map<std::size_t, RemoteAddr> trio_runners_;  ///< As FrameVariable::read().
    std::optional<cpython::AsyncioOffsets> offsets_;
    bool has_asyncio_ = false;
    bool has_trio_ = false;
    bool has_greenlet_ = false;
    /// Searched for once: that takes too long while the target stands still.
    std::optional<cpython::FoundGreenlets> greenlets_;
    std::vector<cpython::RawFrame> code_frames_;  ///< One of each code object.
    std::unordered_set<RemoteAddr> seen_code_;    ///< Of code_frames_.
};

}  // namespace pystack::snapshot
