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

/// Reads the variables of the frames of a reading. Of a stack that has thousands of them, those of
/// its ends are shown, and the others are counted. Rendering values takes longer than copying
/// them, so a live target is read in three steps:
///
///     locals.rehearse(...);           // it runs: what this comes to is forgotten, but not which
///                                     // pages of its memory it took
///     locals.copy(raw);           // it stands still: these pages and the variables
///     locals.render(raw);         // it runs again
///
class LocalsCapture {
  public:
    LocalsCapture(const memory::MemoryReader& memory, const cpython::Layout& layout,
                  const LocalsOptions& options);

    void rehearse(RawSnapshot& raw, std::vector<cpython::RawFrame>& frames);
    void copy(RawSnapshot& raw);
    /// Fills RawThread::variables. False: something was not in the copy, because it is newer
    /// than the rehearsal. Then only read() will do.
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

    FoundThread find(RawSnapshot& raw, std::span<const cpython::RawFrame> frames);
    std::vector<bool> choose(std::span<const cpython::LocalsReader::Frame> frames);
    void count(std::span<const cpython::LocalsReader::Frame> frames,
               std::span<const std::size_t> places, FoundThread& found);
    void render_all(RawSnapshot& raw);

    const memory::MemoryReader& memory_;
    cpython::LocalsReader reader_;
    cpython::ValueRenderer renderer_;
    std::vector<FoundThread> found_;  ///< As RawSnapshot::threads.
};

}  // namespace pystack::snapshot
