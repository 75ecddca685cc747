#include "snapshot/kernel_facts.h"

#include <sys/syscall.h>
#include <time.h>

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "process/proc_files.h"
#include "waits/descriptors.h"

namespace pystack::snapshot {

namespace {

using model::WaitKind;
using target::LiveTarget;

constexpr std::int64_t kNsPerSecond = 1'000'000'000;

bool has_descriptor(const RawThread& thread) {
    if (!thread.wait || !thread.wait->wait.fd) return false;
    const WaitKind kind = thread.wait->wait.kind;
    return kind == WaitKind::kDescriptor || kind == WaitKind::kFileLock;
}

void add_descriptors(const LiveTarget& target, std::vector<RawThread>& threads) {
    std::vector<RawThread*> waiting;
    std::vector<int> fds;
    for (RawThread& thread : threads) {
        if (!has_descriptor(thread)) continue;
        waiting.push_back(&thread);
        fds.push_back(*thread.wait->wait.fd);
    }
    if (fds.empty()) return;
    const auto found = waits::describe_descriptors(target.pid(), fds);
    for (std::size_t i = 0; i < waiting.size(); ++i) {
        if (!found[i]) continue;
        model::Wait& wait = waiting[i]->wait->wait;
        wait.target = found[i]->target;
        if (wait.kind != WaitKind::kFileLock) {
            wait.kind = found[i]->kind;
        } else if (const auto owner = waits::lock_owner(*found[i])) {
            wait.pid = *owner;
            wait.command = waits::command_of(*owner);
        }
    }
}

void add_time_left(RawWait& wait) {
    struct ::timespec now{};
    if (!wait.deadline_ns || ::clock_gettime(wait.clock, &now) != 0) return;
    wait.wait.left_ns = *wait.deadline_ns - (now.tv_sec * kNsPerSecond + now.tv_nsec);
}

/// What was asked after the reading is of the wait that was read only if that still goes on.
bool has_moved(const LiveTarget& target, const RawSnapshot& raw, const RawThread& thread,
               const std::optional<arch::Syscall>& call) {
    return !thread.info || target.blocked_syscall(raw.infos[*thread.info].tid) != call;
}

void forget(model::Wait& wait) {
    if (wait.kind == WaitKind::kFileLock) wait.pid.reset();
    if (wait.kind != WaitKind::kFileLock && wait.kind != WaitKind::kProcess)
        wait.kind = WaitKind::kDescriptor;
    wait.target.clear();
    wait.command.clear();
}

}  // namespace

void find_restarted_calls(const LiveTarget& target, RawSnapshot& raw) {
    // Of the calls that are restarted so [kernel: ERESTART_RESTARTBLOCK].
    constexpr std::pair<std::string_view, std::int64_t> kFunctions[] = {
        {"poll", SYS_poll}, {"futex", SYS_futex}, {"nanosleep", SYS_nanosleep}};
    for (const RawThread& thread : raw.threads) {
        if (!thread.info || !thread.call || thread.call->number != arch::kRestartSyscall) continue;
        const std::int32_t tid = raw.infos[*thread.info].tid;
        const auto function = process::read_task_file(target.pid(), tid, "wchan");
        if (!function || target.blocked_syscall(tid) != thread.call) continue;
        for (const auto& [part, number] : kFunctions) {
            if (function->find(part) != std::string::npos) raw.restarted[tid] = number;
        }
    }
}

void add_kernel_facts(const LiveTarget& target, RawSnapshot& raw) {
    add_descriptors(target, raw.threads);
    for (RawThread& thread : raw.threads) {
        if (!thread.wait) continue;
        add_time_left(*thread.wait);
        model::Wait& wait = thread.wait->wait;
        // The number is that of another pid namespace.
        if (target.namespace_pid() && wait.kind == WaitKind::kProcess) wait.pid.reset();
        if (wait.kind == WaitKind::kProcess && wait.pid)
            wait.command = waits::command_of(*wait.pid);
        const bool asked = !wait.target.empty() || !wait.command.empty();
        if (asked && has_moved(target, raw, thread, thread.wait->call)) forget(wait);
    }
}

}  // namespace pystack::snapshot
