#pragma once

#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

namespace pystack::process {

/// The kernel's id of the calling thread. glibc has gettid() since 2.30; wheels run with older
/// ones.
inline pid_t own_tid() {
    return static_cast<pid_t>(::syscall(SYS_gettid));
}

}  // namespace pystack::process
