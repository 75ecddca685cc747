#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/address.h"

namespace pystack::cpython {

/// Frames and C frames that a stack had recently and may have again, so that they are read although
/// they are not on the stack now. Each range that is read in vain makes a read longer, and a fast
/// program harder to prove, so ranges expire after a number of proofs.
class RecentRanges {
  public:
    /// How many proofs a range is kept that was met in a stack that was not proved. It may not be
    /// a frame at all.
    static constexpr std::uint32_t kUnprovedProofs = 16;
    /// The same for one that was met in a proved stack.
    static constexpr std::uint32_t kProvedProofs = 256;
    /// How many ranges are kept. A further one replaces the one that would expire first.
    static constexpr std::size_t kMost = 48;

    void add_proved(RemoteRange range) { add(range, kProvedProofs); }
    void add_unproved(RemoteRange range) { add(range, kUnprovedProofs); }
    /// Once per proof: time goes on.
    void count_proof() { ++proofs_; }

    bool has_expired() const;
    void remove_expired();

    /// Calls `visit` with each range, in the order in which they were added.
    template <class Visit>
    void for_each(Visit visit) const {
        for (const Entry& entry : entries_) visit(entry.range);
    }

  private:
    struct Entry {
        RemoteRange range;
        std::uint64_t last_proof = 0;  ///< The number of the last proof that it is kept for.
    };

    void add(RemoteRange range, std::uint32_t proofs);
    bool is_expired(const Entry& entry) const { return proofs_ > entry.last_proof; }

    std::vector<Entry> entries_;
    std::uint64_t proofs_ = 0;
};

}  // namespace pystack::cpython
