#pragma once

#include <algorithm>

namespace pystack::sampling {

/// Whether a thread of a running target should be stopped for its samples, because too many of the
/// proofs of its stack fail.
class StopNeed {
  public:
    /// After each proof.
    void note_proof(bool failed) {
        level_ = std::clamp(level_ + (failed ? kFailure : -1), 0, kFull);
        if (level_ == kFull) stops_left_ = kStops;
    }
    bool is_due() const { return stops_left_ > 0; }
    /// After each stop. After some, one proof is tried again.
    void note_stop() {
        if (--stops_left_ == 0) level_ = kFull - kFailure;
    }

  private:
    /// It is due when more than one in nine proofs fails for a while, or four in a row.
    static constexpr int kFailure = 8;
    static constexpr int kFull = 4 * kFailure;
    static constexpr int kStops = 100;

    int level_ = 0;
    int stops_left_ = 0;
};

}  // namespace pystack::sampling
