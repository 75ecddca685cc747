#pragma once

#include <pthread.h>
#include <sched.h>

namespace pystack::threads {

/// Before all threads of ordinary priority, for as long as it lives: a target that stands still
/// must not wait until it is our turn. Niceness does not do that between sessions (sched(7),
/// autogroup). Refused without privileges.
class RightOfWay {
  public:
    RightOfWay() { set(SCHED_FIFO, ::sched_get_priority_min(SCHED_FIFO)); }
    ~RightOfWay() { set(SCHED_OTHER, 0); }
    RightOfWay(const RightOfWay&) = delete;
    RightOfWay& operator=(const RightOfWay&) = delete;

  private:
    static void set(int policy, int priority) {
        sched_param parameters{};
        parameters.sched_priority = priority;
        ::pthread_setschedparam(::pthread_self(), policy, &parameters);
    }
};

}  // namespace pystack::threads
