#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/address.h"
#include "base/result.h"
#include "cpython/frames/frame_format.h"
#include "cpython/layout/layout.h"
#include "memory/memory_reader.h"
#include "memory/remote_struct.h"

namespace pystack::cpython {

enum class CoroutineState : std::uint8_t {
    kCreated,  ///< No instruction has run.
    kSuspended,
    kRunning,
    kFinished,
};

/// A coroutine, generator or asynchronous generator, as it stands in memory.
struct Coroutine {
    CoroutineState state = CoroutineState::kFinished;
    RawFrame frame;  ///< Not of a finished one.
    /// What it awaits, or yields from. Null: nothing, or it runs.
    RemoteAddr awaited;
    RemoteAddr first_variable;  ///< The object in the first slot, `self` in methods; may be null.
    /// Of a suspended one: its variables, and behind them the values on its stack.
    RemoteRange values;
};

/// Reads coroutines of every version, without asking what their types are: the caller knows.
class CoroutineReader {
  public:
    CoroutineReader(const memory::MemoryReader& memory, const Layout& layout);

    /// kCorruptData if `object` cannot be one.
    Result<Coroutine> read(RemoteAddr object);

    /// The objects in `values` of a suspended coroutine, lowest first; null where a slot holds
    /// none. Empty if there are absurdly many.
    std::vector<RemoteAddr> read_values(RemoteRange values) const;

  private:
    Result<Coroutine> read_frame_object(RemoteAddr object);
    Result<Coroutine> read_embedded(RemoteAddr object);
    Result<std::span<const std::byte>> read_bytes(RemoteAddr address, std::uint64_t size);
    Result<void> read_suspended(Coroutine& coroutine, const memory::RemoteStruct& frame);
    bool next_yields_from(const Coroutine& coroutine) const;

    const memory::MemoryReader& memory_;
    const Layout& layout_;
    const FrameFormat format_;
    std::uint64_t frame_bytes_;  ///< Of a frame, from its first byte to its first variable.
    std::vector<std::byte> buffer_;
};

}  // namespace pystack::cpython
