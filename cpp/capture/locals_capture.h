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

/// Reads the variables of every frame of a reading while the target stands still. Reading them once
/// before, while it still runs, makes that short: what came of it is forgotten, the pages it wanted
/// are known.
class LocalsCapture {
  public:
    LocalsCapture(const memory::MemoryReader& memory, const cpython::Layout& layout,
                  const LocalsOptions& options);

    /// For a target that still runs; nothing of it is kept.
    void rehearse(Reading& reading, std::vector<cpython::RawFrame>& frames);
    /// Fills ThreadReading::variables.
    void read(Reading& reading);

  private:
    std::vector<model::FrameVariables> read_frames(Reading& reading,
                                                   std::span<const cpython::RawFrame> frames);

    const memory::MemoryReader& memory_;
    cpython::LocalsReader reader_;
    cpython::ValueRenderer renderer_;
};

}  // namespace pystack::capture
