#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>

#include "threads/registers.h"

namespace pystack::capture {

/// What the kernel says a thread does at this moment.
struct Activity {
    bool running = false;                  ///< On a CPU, or waiting for one.
    std::optional<threads::Syscall> call;  ///< The system call it is blocked in.
};

/// One thread's /proc/PID/task/TID/syscall, kept open where descriptors allow: a look is then one
/// small read.
class ActivityFile {
  public:
    ActivityFile() = default;
    ~ActivityFile() { close(); }
    ActivityFile(const ActivityFile&) = delete;
    ActivityFile& operator=(const ActivityFile&) = delete;

    /// Which thread, by its ids in our own pid namespace. `tid` 0: not known.
    void set_thread(pid_t pid, pid_t tid);
    /// nullopt when it cannot be told: the thread is gone, or we may not look.
    std::optional<Activity> look();

  private:
    void close();

    pid_t pid_ = 0;
    pid_t tid_ = 0;
    int fd_ = -1;
};

}  // namespace pystack::capture
