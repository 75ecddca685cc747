#include "process/cpu_affinity.h"

#include "process/proc_files.h"

namespace pystack::process {

namespace {

bool use_cpus(const cpu_set_t& cpus) {
    return ::sched_setaffinity(0, sizeof cpus, &cpus) == 0;
}

/// Whether a thread of ordinary priority gets its turn beside one of this policy.
bool shares_cpu(int policy) {
    return policy == SCHED_OTHER || policy == SCHED_BATCH || policy == SCHED_IDLE;
}

}  // namespace

bool CpuAffinity::pin_to(pid_t pid, pid_t tid) {
    const auto stat = read_stat(pid, tid);
    if (!stat || stat->cpu < 0 || stat->cpu >= CPU_SETSIZE || !shares_cpu(stat->policy)) {
        return false;
    }
    if (pinned_ && stat->cpu == cpu_) return true;
    // Fails where there are more CPUs than a cpu_set_t has.
    if (!pinned_ && ::sched_getaffinity(0, sizeof before_, &before_) != 0) return false;
    if (!CPU_ISSET(static_cast<unsigned>(stat->cpu), &before_)) return false;
    cpu_set_t wanted;
    CPU_ZERO(&wanted);
    CPU_SET(static_cast<unsigned>(stat->cpu), &wanted);
    if (!use_cpus(wanted)) return false;
    pinned_ = true;
    cpu_ = stat->cpu;
    return true;
}

bool CpuAffinity::shares_cpu_with(pid_t pid, pid_t tid) const {
    if (!pinned_) return false;
    const auto stat = read_stat(pid, tid);
    return stat && stat->cpu == cpu_;
}

bool CpuAffinity::stood_still(pid_t pid, pid_t tid,
                              std::optional<std::uint64_t> run_before_ns) const {
    return run_before_ns && shares_cpu_with(pid, tid) &&
           read_run_time_ns(pid, tid) == run_before_ns;
}

void CpuAffinity::unpin() {
    if (pinned_) use_cpus(before_);
    pinned_ = false;
}

}  // namespace pystack::process
