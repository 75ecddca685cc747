#pragma once

#include <string>
#include <vector>

#include "snapshot/locals_capture.h"
#include "snapshot/raw_snapshot.h"
#include "snapshot/tasks_capture.h"
#include "target/live_target.h"

namespace pystack::snapshot {

/// Reads tasks and variables of a target that is not stopped: what is read counts if no thread ran
/// meanwhile. It is tried for a moment.
class StillCapture {
  public:
    /// All must outlive it. `tasks`, `locals`: null if they are not wanted.
    StillCapture(const target::LiveTarget& target, RawSnapshot& raw, TasksCapture* tasks,
                 LocalsCapture* locals)
        : target_(target), raw_(raw), tasks_(tasks), locals_(locals) {}

    /// After the stacks were read. Returns what is missing, one sentence each.
    std::vector<std::string> read();

  private:
    void rehearse();
    bool read_while_still();
    void read_once();
    void forget();

    const target::LiveTarget& target_;
    RawSnapshot& raw_;
    TasksCapture* tasks_;
    LocalsCapture* locals_;
    std::size_t moved_ = 0;  ///< Threads that are not where they were when their stack was read.
};

}  // namespace pystack::snapshot
