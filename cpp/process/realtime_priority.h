#pragma once

#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/types.h>

#include <cerrno>

namespace pystack::process {

/// Whether the calling thread has the priority that everybody begins with. Where a user chose
/// another (nice, chrt), that stays.
inline bool has_ordinary_priority() {
    errno = 0;
    return ::sched_getscheduler(0) == SCHED_OTHER && ::getpriority(PRIO_PROCESS, 0) == 0 &&
           errno == 0;
}

/// Puts a thread before others of ordinary priority. Refused without privileges.
inline void raise_niceness(pid_t tid) {
    constexpr int kHighest = -20;
    ::setpriority(PRIO_PROCESS, static_cast<id_t>(tid), kHighest);
}

/// Real-time priority for the calling thread: a target that stands still must not wait until it is
/// our turn. Niceness does not do that between sessions (sched(7), autogroup). Refused without
/// privileges.
class RealtimePriority {
  public:
    RealtimePriority() = default;
    ~RealtimePriority() { leave(); }
    RealtimePriority(const RealtimePriority&) = delete;
    RealtimePriority& operator=(const RealtimePriority&) = delete;

    void raise() { raised_ = raised_ || set(SCHED_FIFO, ::sched_get_priority_min(SCHED_FIFO)); }
    /// Back to ordinary priority, with the niceness as it was.
    void leave() {
        if (raised_) set(SCHED_OTHER, 0);
        raised_ = false;
    }

  private:
    static bool set(int policy, int priority) {
        sched_param parameters{};
        parameters.sched_priority = priority;
        return ::pthread_setschedparam(::pthread_self(), policy, &parameters) == 0;
    }

    bool raised_ = false;
};

}  // namespace pystack::process
