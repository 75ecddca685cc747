#pragma once

#include <sys/types.h>

namespace pystack::process {

struct StoppedThread {
    pid_t tid = 0;
    bool stopped =
        false;  ///< false: it sat in an uninterruptible wait and could not be stopped in time.
    /// It was in uninterruptible sleep at the last stop, and still is: nobody waits for it.
    bool uninterruptible = false;
    int pending_signal = 0;  ///< A signal that was on its way to the thread: handed on at release.
};

}  // namespace pystack::process
