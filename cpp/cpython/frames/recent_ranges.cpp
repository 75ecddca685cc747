#include "cpython/frames/recent_ranges.h"

#include <algorithm>

namespace pystack::cpython {

void RecentRanges::add(RemoteRange range, std::uint32_t proofs) {
    const std::uint64_t last_proof = proofs_ + proofs;
    const auto same = std::find_if(entries_.begin(), entries_.end(),
                                   [&](const Entry& entry) { return entry.range == range; });
    if (same != entries_.end()) {
        same->last_proof = std::max(same->last_proof, last_proof);
    } else if (entries_.size() < kMost) {
        entries_.push_back({range, last_proof});
    } else {
        *std::min_element(entries_.begin(), entries_.end(), [](const Entry& a, const Entry& b) {
            return a.last_proof < b.last_proof;
        }) = {range, last_proof};
    }
}

bool RecentRanges::has_expired() const {
    return std::any_of(entries_.begin(), entries_.end(),
                       [this](const Entry& entry) { return is_expired(entry); });
}

void RecentRanges::remove_expired() {
    std::erase_if(entries_, [this](const Entry& entry) { return is_expired(entry); });
}

}  // namespace pystack::cpython
