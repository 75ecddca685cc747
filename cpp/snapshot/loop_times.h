#pragma once

#include <cstdint>
#include <optional>
#include <unordered_map>

#include "cpython/objects/value_types.h"
#include "cpython/sync/frame_objects.h"
#include "memory/memory_reader.h"
#include "snapshot/raw_snapshot.h"

namespace pystack::snapshot {

/// When asyncio's event loops last came back from waiting. One that has not waited for long is kept
/// from it by what it has called.
///
/// BaseEventLoop._run_once() keeps that time in its variable `end_time`, which it sets behind the
/// call of the selector and before that of the first callback [Lib/asyncio/base_events.py, 3.7 to
/// 3.15].
class LoopTimes {
  public:
    LoopTimes(const memory::MemoryReader& memory, const cpython::Layout& layout,
              cpython::CodeReader& codes)
        : memory_(memory), layout_(layout), types_(memory, layout), objects_(layout, codes) {}

    /// Looks at the code of the threads' frames, which have to be loaded.
    void find_code(const RawSnapshot& raw);
    /// In seconds of the loop's clock, by index into RawSnapshot::threads. Of threads that do not
    /// run meanwhile.
    std::unordered_map<std::size_t, double> read(const RawSnapshot& raw);

  private:
    std::optional<double> read(const cpython::Code& code, const cpython::RawFrame& frame,
                               std::uint32_t variable);

    const memory::MemoryReader& memory_;
    const cpython::Layout layout_;
    cpython::TypeCache types_;
    cpython::FrameObjects objects_;
    std::unordered_map<RemoteAddr, std::uint32_t> variables_;  ///< `end_time`, by code object.
};

}  // namespace pystack::snapshot
