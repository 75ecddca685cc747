#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "memory/memory_reader.h"
#include "memory/read_batch.h"

namespace pystack::memory {

/// How long a batch took to read, compared to what it takes when nothing disturbs.
enum class ReadTiming : std::uint8_t {
    kInterrupted,  ///< Its ends were not one moment of the target.
    kNormal,
    kFast,
};

/// The least time that was seen lately. A time that will never be met again is forgotten: clocks of
/// CPUs change, and so do the neighbours of a virtual machine.
class RecentLeast {
  public:
    void note(std::chrono::nanoseconds time);
    /// Unknown until there were enough.
    std::optional<std::chrono::nanoseconds> get() const;

  private:
    std::chrono::nanoseconds now_ = std::chrono::nanoseconds::max();
    std::chrono::nanoseconds before_ = std::chrono::nanoseconds::max();
    int count_ = 0;
};

/// Reads batches of which it matters how long they take. What is usual, it learns.
class TimedReader {
  public:
    explicit TimedReader(const MemoryReader& memory) : memory_(memory) {}

    ReadTiming read(ReadBatch& batch) {
        last_begin_ = std::chrono::steady_clock::now();
        batch.read(memory_);
        last_end_ = std::chrono::steady_clock::now();
        return judge(batch, last_end_ - last_begin_);
    }
    /// What it means that the batch, which was read, took so long.
    ReadTiming judge(const ReadBatch& batch, std::chrono::nanoseconds took);
    /// Of the last one.
    std::chrono::steady_clock::time_point last_begin() const { return last_begin_; }
    std::chrono::steady_clock::time_point last_end() const { return last_end_; }

  private:
    /// Deeper stacks than this are a few pages more.
    static constexpr std::size_t kSizes = 64;

    const MemoryReader& memory_;
    std::chrono::steady_clock::time_point last_begin_;
    std::chrono::steady_clock::time_point last_end_;
    /// What a piece of a batch takes when nothing disturbs: the least seen, in ns. By file it takes
    /// more.
    std::int64_t fastest_piece_ns_ = 1'000;  ///< Before any is known: more than it takes.
    std::array<RecentLeast, kSizes> usual_;  ///< By number of pieces.
};

}  // namespace pystack::memory
