#pragma once

#include <vector>

#include "cpython/values/locals_reader.h"
#include "cpython/values/redaction.h"
#include "cpython/values/value_renderer.h"
#include "snapshot/raw_snapshot.h"

namespace pystack::snapshot {

struct LocalsOptions {
    cpython::RenderLimits limits;
    cpython::Redaction redaction;
};

/// Reads the variables of the frames of a reading: those of threads and, once RawSnapshot::tasks is
/// filled, those of tasks. Of a stack that has thousands of them, those of its ends are shown, and
/// the others are counted. Rendering values takes longer than copying them, so a live target is
/// read in three steps:
///
///     locals.rehearse(...);           // it runs: what this comes to is forgotten, but not which
///     locals.rehearse_tasks(raw);     // pages of its memory it took
///     locals.copy(raw);           // it stands still: these pages and the variables
///     locals.render(raw);         // it runs again, and the tasks are known
///
class LocalsCapture {
  public:
    LocalsCapture(const memory::MemoryReader& memory, const cpython::Layout& layout,
                  const LocalsOptions& options);

    void rehearse(RawSnapshot& raw, std::vector<cpython::RawFrame>& frames);
    void rehearse_tasks(RawSnapshot& raw);
    void copy(RawSnapshot& raw);
    /// Fills RawThread::variables and RawTask::variables. False: something was not in the copy,
    /// because it is newer than the rehearsal. Then only read() will do.
    bool render(RawSnapshot& raw);
    /// copy() and render() of a target that stands still all the time.
    void read(RawSnapshot& raw);

  private:
    /// A frame of which the variables are only counted.
    struct LeftOut {
        std::size_t place;
        std::uint64_t count;
    };
    /// The variables of one thread.
    struct FoundThread {
        std::vector<cpython::LocalsReader::FoundFrame> frames;
        std::vector<std::size_t> places;  ///< Which frame of the thread each of them is.
        std::vector<LeftOut> left_out;
    };

    /// `memory` has the frames.
    FoundThread find(RawSnapshot& raw, std::span<const cpython::RawFrame> frames,
                     const memory::MemoryReader& memory);
    FoundThread find(RawSnapshot& raw, const cpython::RawTask& task);
    std::vector<bool> choose(std::span<const cpython::LocalsReader::Frame> frames);
    void count(std::span<const cpython::LocalsReader::Frame> frames,
               std::span<const std::size_t> places, const memory::MemoryReader& memory,
               FoundThread& found);
    void render_all(RawSnapshot& raw);
    void render_tasks(RawSnapshot& raw);
    static void take(RawSnapshot& raw, const FoundThread& found,
                     std::vector<model::FrameVariables> rendered, std::size_t frame_count,
                     std::vector<model::FrameVariables>& variables);

    const memory::MemoryReader& memory_;
    cpython::LocalsReader reader_;
    cpython::ValueRenderer renderer_;
    std::vector<FoundThread> found_;  ///< As RawSnapshot::threads.
};

}  // namespace pystack::snapshot
