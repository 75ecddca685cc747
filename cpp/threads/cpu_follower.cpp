#include "threads/cpu_follower.h"

#include "threads/proc_files.h"

namespace pystack::threads {

namespace {

bool use_cpus(const cpu_set_t& cpus) {
    return ::sched_setaffinity(0, sizeof cpus, &cpus) == 0;
}

/// Whether a thread of ordinary priority gets its turn beside one of this policy.
bool shares_cpu(int policy) {
    return policy == SCHED_OTHER || policy == SCHED_BATCH || policy == SCHED_IDLE;
}

}  // namespace

bool CpuFollower::follow(pid_t pid, pid_t tid) {
    const auto stat = read_stat(pid, tid);
    if (!stat || stat->cpu < 0 || stat->cpu >= CPU_SETSIZE || !shares_cpu(stat->policy)) {
        return false;
    }
    if (following_ && stat->cpu == cpu_) return true;
    // Fails where there are more CPUs than a cpu_set_t has.
    if (!following_ && ::sched_getaffinity(0, sizeof before_, &before_) != 0) return false;
    if (!CPU_ISSET(static_cast<unsigned>(stat->cpu), &before_)) return false;
    cpu_set_t wanted;
    CPU_ZERO(&wanted);
    CPU_SET(static_cast<unsigned>(stat->cpu), &wanted);
    if (!use_cpus(wanted)) return false;
    following_ = true;
    cpu_ = stat->cpu;
    return true;
}

bool CpuFollower::is_beside(pid_t pid, pid_t tid) const {
    if (!following_) return false;
    const auto stat = read_stat(pid, tid);
    return stat && stat->cpu == cpu_;
}

void CpuFollower::leave() {
    if (following_) use_cpus(before_);
    following_ = false;
}

}  // namespace pystack::threads
