#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <unordered_map>
#include <utility>
#include <vector>

#include "sampling/thread_identities.h"
#include "sampling/tick.h"
#include "sampling/tracked_thread.h"
#include "target/target.h"

namespace pystack::sampling {

/// The threads of a process that no interpreter knows, when native stacks are sampled.
class UnclaimedThreads {
  public:
    /// `identities` are those of the other threads, too; both must outlive it.
    UnclaimedThreads(const target::Target& target, ThreadIdentities& identities)
        : target_(target), identities_(identities) {}

    using Entry = std::pair<std::int32_t, TrackedThread*>;
    /// The threads with these tids, in their order; the others are gone. Until the next call.
    const std::vector<Entry>& update(std::span<const std::int32_t> tids, const Tick& tick);

    /// The identities were renumbered without these: they are added again.
    void clear() {
        threads_.clear();
        order_.clear();
    }

  private:
    const target::Target& target_;
    ThreadIdentities& identities_;
    std::unordered_map<std::int32_t, std::unique_ptr<TrackedThread>> threads_;
    std::vector<Entry> order_;
};

}  // namespace pystack::sampling
