#pragma once

#include <cstddef>
#include <unordered_map>

#include "cpython/objects/value_types.h"
#include "memory/memory_reader.h"
#include "snapshot/frame_variable.h"
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
        : memory_(memory),
          layout_(layout),
          types_(memory, layout),
          end_time_(
              memory, layout, codes,
              {.file = "asyncio/base_events.py", .function = "_run_once", .variable = "end_time"}) {
    }

    /// As those of FrameVariable. Times are in seconds of the loop's clock.
    void find_code(const RawSnapshot& raw) { end_time_.find_code(raw); }
    std::unordered_map<std::size_t, double> read(const RawSnapshot& raw);

  private:
    const memory::MemoryReader& memory_;
    const cpython::Layout layout_;
    cpython::TypeCache types_;
    FrameVariable end_time_;
};

}  // namespace pystack::snapshot
