#include "snapshot/peer_waits.h"

#include <algorithm>
#include <optional>

#include "memory/segment_memory.h"
#include "process/proc_files.h"
#include "waits/blocked_call.h"
#include "waits/descriptors.h"
#include "waits/other_ends.h"

namespace pystack::snapshot {

namespace {

using model::WaitKind;
using target::LiveTarget;

/// Each looks at all processes.
constexpr std::size_t kMostLooks = 16;

/// Where the only thread of a process is; nullopt if it has others, or runs.
struct Moment {
    arch::Syscall call;
    std::uint64_t run_ns = 0;

    bool operator==(const Moment&) const = default;
};

std::optional<Moment> moment_of(pid_t pid) {
    if (process::list_tasks(pid).size() != 1) return std::nullopt;
    const auto text = process::read_task_file(pid, pid, "syscall");
    const auto call = text ? process::parse_syscall(*text) : std::nullopt;
    const auto run_ns = process::read_run_time_ns(pid, pid);
    if (!call || !run_ns) return std::nullopt;
    return Moment{*call, *run_ns};
}

/// Whether nobody but these two processes has the end of the pipe that `pid` waits for.
bool waits_for_pipe_of(pid_t pid, const waits::BlockedCall& call, pid_t other) {
    const auto files = waits::describe_descriptors(pid, std::span(&*call.fd, 1));
    if (!files.front() || files.front()->kind != WaitKind::kPipe) return false;
    const waits::FileEnd end{.link = files.front()->link,
                             .device = files.front()->device,
                             .inode = files.front()->inode,
                             .writes = !waits::is_write(call.name)};
    if (!waits::is_private(end)) return false;
    const auto users = waits::find_users(std::span(&end, 1));
    const auto is_one = [&](pid_t user) { return user == pid || user == other; };
    return users.complete && std::ranges::all_of(users.pids.front(), is_one) &&
           std::ranges::find(users.pids.front(), other) != users.pids.front().end();
}

/// What `pid` waits for, if only `other` can end that wait.
std::optional<WaitKind> wait_for(pid_t pid, pid_t other) {
    const auto before = moment_of(pid);
    if (!before) return std::nullopt;
    // Its memory is not needed: it has timeouts, which are not looked at.
    const memory::SegmentMemory no_memory({});
    const auto call = waits::describe_call(before->call, no_memory);
    if (!call || call->is_timed) return std::nullopt;
    std::optional<WaitKind> kind;
    if (call->kind == waits::CallKind::kDescriptor && call->fd) {
        if (waits_for_pipe_of(pid, *call, other)) kind = WaitKind::kPipe;
    } else if (call->kind == waits::CallKind::kChild && call->pid == other) {
        kind = WaitKind::kProcess;
    }
    return moment_of(pid) == before ? kind : std::nullopt;
}

/// The one other process that can end the wait of a thread.
std::optional<pid_t> peer_of(const model::Wait& wait, pid_t itself) {
    if (wait.kind == WaitKind::kProcess) return wait.pid;
    if (wait.kind != WaitKind::kPipe) return std::nullopt;
    std::optional<pid_t> peer;
    for (const model::ProcessName& end : wait.other_ends) {
        if (end.pid == itself) continue;
        if (peer) return std::nullopt;
        peer = end.pid;
    }
    return peer;
}

}  // namespace

void add_peer_waits(const LiveTarget& target, RawSnapshot& raw) {
    // In another pid namespace, numbers in the arguments of its calls mean other processes.
    if (target.namespace_pid()) return;
    std::size_t looks = 0;
    const bool is_alone = process::list_tasks(target.pid()).size() == 1;
    for (RawThread& thread : raw.threads) {
        if (!thread.wait) continue;
        model::Wait& wait = thread.wait->wait;
        const auto peer = peer_of(wait, target.pid());
        if (!peer || ++looks > kMostLooks) continue;
        wait.peer_wait = wait_for(*peer, target.pid());
        wait.is_process_circle = wait.peer_wait && is_alone && !wait.is_timed &&
                                 (wait.kind == WaitKind::kProcess || thread.wait->ends_complete);
    }
}

}  // namespace pystack::snapshot
