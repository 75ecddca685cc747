#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "capture/reading.h"
#include "cpython/locals_reader.h"
#include "cpython/value_renderer.h"

namespace pystack::capture {

struct LocalsOptions {
    cpython::RenderLimits limits;
    /// The value of a variable, attribute or key whose name holds one of these (any case) is not
    /// looked at.
    std::vector<std::string> redact;
};

/// Whether `name` holds one of the patterns, in upper or lower case.
bool is_redacted(std::string_view name, const std::vector<std::string>& patterns);

/// Reads the variables of every frame of a reading. Rendering values takes longer than copying
/// them, so a live target is read in three steps:
///
///     locals.rehearse(...);           // it runs: what this comes to is forgotten, but not which
///                                     // pages of its memory it took
///     locals.copy(reading);           // it stands still: these pages and the variables
///     locals.render(reading);         // it runs again
///
class LocalsCapture {
  public:
    LocalsCapture(const memory::MemoryReader& memory, const cpython::Layout& layout,
                  const LocalsOptions& options);

    void rehearse(Reading& reading, std::vector<cpython::RawFrame>& frames);
    void copy(Reading& reading);
    /// Fills ThreadReading::variables. False: something was not in the copy, because it is newer
    /// than the rehearsal. Then only read() will do.
    bool render(Reading& reading);
    /// copy() and render() of a target that stands still all the time.
    void read(Reading& reading);

  private:
    /// The variables of one thread.
    struct FoundThread {
        std::vector<cpython::LocalsReader::FoundFrame> frames;
        std::vector<std::size_t> places;  ///< Which frame of the thread each of them is.
    };

    FoundThread find(Reading& reading, std::span<const cpython::RawFrame> frames);
    void render_all(Reading& reading);

    const memory::MemoryReader& memory_;
    cpython::LocalsReader reader_;
    cpython::ValueRenderer renderer_;
    std::vector<FoundThread> found_;  ///< As Reading::threads.
};

}  // namespace pystack::capture
