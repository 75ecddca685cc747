#include "memory/timed_reader.h"

#include <algorithm>
#include <chrono>
#include <utility>

namespace pystack::memory {

namespace {

using std::chrono::nanoseconds;

/// One batched read takes 1 to 2 us for a shallow stack. One that took much longer was interrupted
/// half way (another program, the hypervisor), and a program that repeats itself may look the same
/// afterwards.
constexpr auto kLongestRead = std::chrono::microseconds(8);
constexpr auto kLongestSwiftRead = std::chrono::microseconds(1);
/// What more pieces and more bytes may take in addition, for deep stacks: of the pieces, so many
/// times what they take when nothing disturbs.
constexpr std::int64_t kLongestReadInPieces = 4;
constexpr std::int64_t kLongestSwiftReadInPieces = 2;
constexpr nanoseconds kLongestReadPerMiB = std::chrono::milliseconds(1);
/// A slow machine takes longer than all that: there, what counts is the least that it takes. A
/// quarter more is swift; anything longer may be an interruption.
constexpr int kSwiftMargin = 4;
/// How many reads the least is taken of.
constexpr int kWindow = 256;

}  // namespace

void RecentLeast::note(nanoseconds time) {
    now_ = std::min(now_, time);
    if (++count_ < kWindow) return;
    count_ = 0;
    before_ = std::exchange(now_, nanoseconds::max());
}

std::optional<nanoseconds> RecentLeast::get() const {
    if (before_ == nanoseconds::max()) return std::nullopt;
    return std::min(now_, before_);
}

ReadTiming TimedReader::judge(const ReadBatch& batch, nanoseconds took) {
    const auto pieces = static_cast<std::int64_t>(batch.size());
    RecentLeast& usual = usual_[std::min(batch.size(), kSizes - 1)];
    // A read that fails half way is faster than any other.
    if (batch.complete(batch.size() - 1)) {
        fastest_piece_ns_ = std::min<std::int64_t>(fastest_piece_ns_, took.count() / pieces);
        usual.note(took);
    }
    const auto for_pieces = nanoseconds(pieces * fastest_piece_ns_);
    const auto for_bytes = kLongestReadPerMiB * batch.total_bytes() / (1 << 20);
    const nanoseconds least = usual.get().value_or(nanoseconds::zero());
    const nanoseconds swift =
        kLongestSwiftRead + kLongestSwiftReadInPieces * for_pieces + for_bytes;
    if (took <= std::max(swift, least + least / kSwiftMargin)) return ReadTiming::kFast;
    const nanoseconds normal = kLongestRead + kLongestReadInPieces * for_pieces + for_bytes;
    return took <= normal ? ReadTiming::kNormal : ReadTiming::kInterrupted;
}

}  // namespace pystack::memory
