#pragma once

#include <chrono>
#include <cstdint>

#include "memory/memory_reader.h"
#include "memory/read_batch.h"

namespace pystack::memory {

/// How long a batch took to read, compared to what it takes when nothing disturbs.
enum class ReadTiming : std::uint8_t {
    kInterrupted,  ///< Its ends were not one moment of the target.
    kNormal,
    kFast,
};

/// Reads batches of which it matters how long they take. What is usual, it learns.
class TimedReader {
  public:
    explicit TimedReader(const MemoryReader& memory) : memory_(memory) {}

    ReadTiming read(ReadBatch& batch);
    /// Of the last one.
    std::chrono::steady_clock::time_point last_begin() const { return last_begin_; }
    std::chrono::steady_clock::time_point last_end() const { return last_end_; }

  private:
    const MemoryReader& memory_;
    std::chrono::steady_clock::time_point last_begin_;
    std::chrono::steady_clock::time_point last_end_;
    /// What a piece of a batch takes when nothing disturbs: the least seen, in ns. By file it takes
    /// more.
    std::int64_t fastest_piece_ns_ = 1'000;  ///< Before any is known: more than it takes.
};

}  // namespace pystack::memory
