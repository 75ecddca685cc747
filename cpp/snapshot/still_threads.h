#pragma once

#include <cstdint>
#include <vector>

#include "snapshot/raw_snapshot.h"
#include "snapshot/thread_moment.h"
#include "target/live_target.h"

namespace pystack::snapshot {

/// Which threads of a running target did not run while something was read: they were blocked in the
/// same system call before and after it, and were not on a CPU in between. What was read of them
/// and of what they hold is then of one moment.
class StillThreads {
  public:
    /// Sets `call` of those that are blocked, and forgets that of the others.
    StillThreads(const target::LiveTarget& target, RawSnapshot& raw);

    /// To be called when all has been read. Forgets the waits of threads that have moved, and the
    /// holders among these.
    void check(RawSnapshot& raw);

  private:
    void find_restart(RawSnapshot& raw, std::int32_t tid) const;
    ThreadMoment now(const RawSnapshot& raw, const RawThread& thread) const;

    const target::LiveTarget& target_;
    std::vector<ThreadMoment> before_;  ///< As RawSnapshot::threads.
};

}  // namespace pystack::snapshot
