#include "memory/timed_reader.h"

#include <algorithm>
#include <chrono>

namespace pystack::memory {

namespace {

/// One batched read takes 1 to 2 us for a shallow stack. One that took much longer was interrupted
/// half way (another program, the hypervisor), and a program that repeats itself may look the same
/// afterwards.
constexpr auto kLongestRead = std::chrono::microseconds(8);
constexpr auto kLongestSwiftRead = std::chrono::microseconds(1);
/// What more pieces and more bytes may take in addition, for deep stacks: of the pieces, so many
/// times what they take when nothing disturbs.
constexpr std::int64_t kLongestReadInPieces = 4;
constexpr std::int64_t kLongestSwiftReadInPieces = 2;
constexpr std::chrono::nanoseconds kLongestReadPerMiB = std::chrono::milliseconds(1);

}  // namespace

ReadTiming TimedReader::read(ReadBatch& batch) {
    last_begin_ = std::chrono::steady_clock::now();
    batch.read(memory_);
    last_end_ = std::chrono::steady_clock::now();
    const std::chrono::nanoseconds took = last_end_ - last_begin_;
    const auto pieces = static_cast<std::int64_t>(batch.size());
    fastest_piece_ns_ = std::min<std::int64_t>(fastest_piece_ns_, took.count() / pieces);
    const auto for_pieces = std::chrono::nanoseconds(pieces * fastest_piece_ns_);
    const auto for_bytes = kLongestReadPerMiB * batch.total_bytes() / (1 << 20);
    if (took <= kLongestSwiftRead + kLongestSwiftReadInPieces * for_pieces + for_bytes)
        return ReadTiming::kFast;
    if (took <= kLongestRead + kLongestReadInPieces * for_pieces + for_bytes)
        return ReadTiming::kNormal;
    return ReadTiming::kInterrupted;
}

}  // namespace pystack::memory
