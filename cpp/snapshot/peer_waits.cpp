#include "snapshot/peer_waits.h"

#include <signal.h>

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <map>
#include <optional>
#include <utility>
#include <vector>

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

/// Where the only thread of a process is.
struct Moment {
    arch::Syscall call;
    std::uint64_t run_ns = 0;

    bool operator==(const Moment&) const = default;
};

/// nullopt: the process has other threads, runs, or is stopped, when its call may be over.
std::optional<Moment> moment_of(pid_t pid) {
    constexpr char kSleeps = 'S';
    if (process::list_tasks(pid).size() != 1) return std::nullopt;
    const auto stat = process::read_stat(pid, pid);
    if (!stat || stat->state != kSleeps) return std::nullopt;
    const auto text = process::read_task_file(pid, pid, "syscall");
    const auto call = text ? process::parse_syscall(*text) : std::nullopt;
    const auto run_ns = process::read_run_time_ns(pid, pid);
    if (!call || !run_ns) return std::nullopt;
    return Moment{*call, *run_ns};
}

/// A wait that only some processes can end.
struct ProcessWait {
    WaitKind kind = WaitKind::kProcess;
    std::vector<pid_t> enders;  ///< Without the process itself, which waits.
};

std::vector<pid_t> without(std::vector<pid_t> pids, pid_t itself) {
    std::erase(pids, itself);
    return pids;
}

/// Whether a signal can do more than to end it, as those of timers and children may: others come
/// from outside.
bool handles_signals(pid_t pid) {
    constexpr int kOfOwn[] = {SIGALRM, SIGVTALRM, SIGPROF, SIGCHLD, SIGIO, SIGUSR1, SIGUSR2};
    constexpr int kHexadecimal = 16;
    const auto status = process::read_task_file(pid, pid, "status");
    const auto text = status ? process::status_field(*status, "SigCgt") : std::nullopt;
    std::uint64_t caught = 0;
    if (!text ||
        std::from_chars(text->data(), text->data() + text->size(), caught, kHexadecimal).ec !=
            std::errc{}) {
        return true;
    }
    return std::ranges::any_of(kOfOwn,
                               [&](int signal) { return (caught >> (signal - 1) & 1) != 0; });
}

/// nullopt: others may be able to end it.
std::optional<ProcessWait> wait_for_file(pid_t pid, const waits::BlockedCall& call) {
    const auto file = waits::describe_descriptor(pid, *call.fd);
    const auto end = file ? waits::other_end(pid, *file, call.name) : std::nullopt;
    if (!end || !waits::is_private(*end)) return std::nullopt;
    const auto users = waits::find_users(std::span(&*end, 1));
    if (!users.complete) return std::nullopt;
    return ProcessWait{file->kind, without(users.pids.front(), pid)};
}

/// What processes wait for, each looked at once.
class ProcessWaits {
  public:
    /// nullptr: it has other threads, runs, or waits for what others may be able to end.
    const ProcessWait* find(pid_t pid) {
        auto seen = seen_.find(pid);
        if (seen == seen_.end()) {
            if (seen_.size() == kMostLooks) return nullptr;
            seen = seen_.emplace(pid, look_at(pid)).first;
        }
        return seen->second ? &seen->second->wait : nullptr;
    }

    /// Whether it is still as it was when it was looked at.
    bool stands_still(pid_t pid) const {
        const auto seen = seen_.find(pid);
        return seen != seen_.end() && seen->second && moment_of(pid) == seen->second->moment;
    }

  private:
    struct Seen {
        Moment moment;
        ProcessWait wait;
    };

    static std::optional<Seen> look_at(pid_t pid) {
        const auto before = moment_of(pid);
        // In another pid namespace, numbers mean other processes.
        if (!before || !process::shares_namespace(pid, "pid") || handles_signals(pid))
            return std::nullopt;
        // Its memory is not needed: it has timeouts, which are not looked at.
        const memory::SegmentMemory no_memory({});
        const auto call = waits::describe_call(before->call, no_memory);
        if (!call || call->is_timed) return std::nullopt;
        std::optional<ProcessWait> wait;
        if (call->kind == waits::CallKind::kDescriptor && call->fd) {
            wait = wait_for_file(pid, *call);
        } else if (call->pid && waits::waits_for_end(before->call)) {
            wait = ProcessWait{WaitKind::kProcess, {*call->pid}};
        }
        if (!wait || wait->enders.empty() || moment_of(pid) != before) return std::nullopt;
        return Seen{*before, *std::move(wait)};
    }

    std::map<pid_t, std::optional<Seen>> seen_;
};

/// The processes that can end a wait of the target, without itself.
std::vector<pid_t> enders_of(const model::Wait& wait, pid_t itself) {
    std::vector<pid_t> enders;
    if (wait.kind == WaitKind::kProcess && wait.pid) enders = {*wait.pid};
    for (const model::ProcessName& end : wait.other_ends) enders.push_back(end.pid);
    return without(std::move(enders), itself);
}

/// Whether it lasts until one of the other ends, or the child, does something.
bool is_bound_to_enders(const RawWait& wait) {
    if (!wait.call || wait.wait.is_timed) return false;
    return wait.wait.kind == WaitKind::kProcess ? waits::waits_for_end(*wait.call)
                                                : wait.ends_complete;
}

/// The processes that must go on before one that waits for `next` can, itself left out, in the
/// order in which they are met. Empty: one of them may go on.
std::vector<model::PeerWait> find_circle(ProcessWaits& waits, std::vector<pid_t> next,
                                         pid_t itself) {
    std::vector<model::PeerWait> circle;
    while (!next.empty()) {
        const pid_t pid = next.front();
        next.erase(next.begin());
        const auto is_it = [&](const model::PeerWait& one) { return one.process.pid == pid; };
        if (pid == itself || std::ranges::any_of(circle, is_it)) continue;
        const ProcessWait* wait = waits.find(pid);
        if (wait == nullptr) return {};
        circle.push_back({{.pid = pid, .command = {}}, wait->kind, wait->enders});
        next.insert(next.end(), wait->enders.begin(), wait->enders.end());
    }
    for (model::PeerWait& one : circle) {
        if (!waits.stands_still(one.process.pid)) return {};
        one.process.command = waits::command_of(one.process.pid);
    }
    return circle;
}

}  // namespace

void add_peer_waits(const LiveTarget& target, RawSnapshot& raw) {
    // In another pid namespace, numbers in the arguments of its calls mean other processes.
    if (target.namespace_pid()) return;
    const bool is_alone = raw.infos.size() == 1;
    ProcessWaits waits;
    for (RawThread& thread : raw.threads) {
        if (!thread.wait) continue;
        model::Wait& wait = thread.wait->wait;
        const std::vector<pid_t> enders = enders_of(wait, target.pid());
        if (enders.empty()) continue;
        if (enders.size() == 1) {
            const ProcessWait* peer = waits.find(enders.front());
            if (peer != nullptr && peer->enders == std::vector{target.pid()})
                wait.peer_wait = peer->kind;
        }
        if (!is_alone || !is_bound_to_enders(*thread.wait) || handles_signals(target.pid()))
            continue;
        const auto before = moment_of(target.pid());
        if (!before || before->call != thread.wait->call) continue;
        wait.process_circle = find_circle(waits, enders, target.pid());
        if (moment_of(target.pid()) != before) wait.process_circle.clear();
    }
}

}  // namespace pystack::snapshot
