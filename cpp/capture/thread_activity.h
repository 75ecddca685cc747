#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>

#include "cpython/gil_state.h"
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

/// Whether a thread runs, and whether it waits for the GIL, at each of its samples: what the
/// interpreter says of it first, and where that does not tell, the kernel. A thread whose Python
/// stack stands still may begin to wait, or to compute in C: it is looked at less and less often.
class ThreadActivity {
  public:
    /// What is known of the thread at a sample.
    struct Sample {
        std::uint64_t now_ns = 0;
        bool moved = true;         ///< Its stack is another than at the last sample.
        bool runs_python = false;  ///< It holds what is needed for that: the GIL, mostly.
        bool asks_for_gil = false;
        RemoteAddr thread_state;
        const cpython::Gil* gil = nullptr;  ///< Of its interpreter, if known.
        std::size_t thread_count = 1;       ///< Of the process: with many, each is looked at less.
    };

    void set_thread(pid_t pid, pid_t tid) { file_.set_thread(pid, tid); }
    /// model::SampleState bits.
    std::uint8_t bits(const Sample& sample);

  private:
    std::uint8_t look(const Sample& sample);

    ActivityFile file_;
    std::uint64_t moved_ns_ = 0;
    std::uint64_t look_at_ns_ = 0;
    std::uint8_t bits_ = 0;
};

}  // namespace pystack::capture
