#include "snapshot/kernel_facts.h"

#include <time.h>

#include <chrono>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "process/proc_files.h"
#include "snapshot/peer_waits.h"
#include "waits/blocked_call.h"
#include "waits/descriptors.h"
#include "waits/kernel_stack.h"
#include "waits/other_ends.h"

namespace pystack::snapshot {

namespace {

using model::WaitKind;
using target::LiveTarget;

constexpr std::int64_t kNsPerSecond = 1'000'000'000;
constexpr char kUninterruptible = 'D';

bool has_descriptor(const RawThread& thread) {
    if (!thread.wait || !thread.wait->wait.fd) return false;
    const WaitKind kind = thread.wait->wait.kind;
    return kind == WaitKind::kDescriptor || kind == WaitKind::kFileLock;
}

/// A wait, and what its descriptor is.
struct OpenFile {
    RawWait* raw = nullptr;
    waits::Descriptor file;
};

std::vector<OpenFile> add_descriptors(const LiveTarget& target, std::vector<RawThread>& threads) {
    std::vector<RawWait*> waiting;
    std::vector<int> fds;
    for (RawThread& thread : threads) {
        if (!has_descriptor(thread)) continue;
        waiting.push_back(&*thread.wait);
        fds.push_back(*thread.wait->wait.fd);
    }
    std::vector<OpenFile> files;
    if (fds.empty()) return files;
    auto found = waits::describe_descriptors(target.pid(), fds);
    for (std::size_t i = 0; i < waiting.size(); ++i) {
        if (!found[i]) continue;
        model::Wait& wait = waiting[i]->wait;
        wait.target = found[i]->target;
        if (wait.kind != WaitKind::kFileLock) {
            wait.kind = found[i]->kind;
        } else if (const auto owner = waits::lock_owner(*found[i])) {
            wait.pid = *owner;
            wait.command = waits::command_of(*owner);
        }
        files.push_back({waiting[i], *std::move(found[i])});
    }
    return files;
}

/// The other ends of pipes, and of connected unix sockets.
void add_other_ends(const LiveTarget& target, const std::vector<OpenFile>& files) {
    std::vector<RawWait*> waiting;
    std::vector<waits::FileEnd> ends;
    for (const auto& [raw, file] : files) {
        auto end = waits::other_end(target.pid(), file, raw->wait.call);
        if (!end) continue;
        waiting.push_back(raw);
        ends.push_back(*std::move(end));
    }
    if (ends.empty()) return;
    const auto users = waits::find_users(ends);
    for (std::size_t i = 0; i < waiting.size(); ++i) {
        for (const pid_t pid : users.pids[i])
            waiting[i]->wait.other_ends.push_back({.pid = pid, .command = waits::command_of(pid)});
        waiting[i]->ends_complete = users.complete && waits::is_private(ends[i]);
    }
}

void add_time_left(RawWait& wait) {
    struct ::timespec now{};
    if (!wait.deadline_ns || ::clock_gettime(wait.clock, &now) != 0) return;
    wait.wait.left_ns = *wait.deadline_ns - (now.tv_sec * kNsPerSecond + now.tv_nsec);
}

/// Whether a thread has gone on. One that was interrupted by the stop may still be on its way back
/// into its call, which takes longer where there is no free CPU: it is waited for, until it has run
/// for longer than that takes.
class Movement {
  public:
    explicit Movement(const LiveTarget& target) : target_(target) {}

    bool of(const RawSnapshot& raw, const RawThread& thread,
            const std::optional<arch::Syscall>& expected) {
        if (!thread.info) return true;
        const std::int32_t tid = raw.infos[*thread.info].tid;
        const std::uint64_t ran_before = target_.run_time_ns(tid).value_or(0);
        for (;;) {
            const auto call = target_.blocked_syscall(tid);
            if (call || looks_left_ == 0) return call != expected;
            if (target_.run_time_ns(tid).value_or(0) - ran_before > kWayBackNs) return true;
            --looks_left_;
            std::this_thread::sleep_for(kBetweenLooks);
        }
    }

  private:
    static constexpr std::chrono::microseconds kBetweenLooks{500};
    static constexpr std::uint64_t kWayBackNs = 500'000;
    const LiveTarget& target_;
    int looks_left_ = 500;  ///< At all threads.
};

void forget(model::Wait& wait) {
    if (wait.kind == WaitKind::kFileLock) wait.pid.reset();
    if (wait.kind != WaitKind::kFileLock && wait.kind != WaitKind::kProcess)
        wait.kind = WaitKind::kDescriptor;
    wait.target.clear();
    wait.command.clear();
    wait.other_ends.clear();
}

/// Of a thread that sleeps uninterruptibly: where, and how it came there, which only root may know.
void add_kernel_state(const LiveTarget& target, const RawSnapshot& raw, RawThread& thread) {
    if (!thread.info || raw.infos[*thread.info].run_state != kUninterruptible) return;
    const std::int32_t tid = raw.infos[*thread.info].tid;
    const auto function = process::read_task_file(target.pid(), tid, "wchan");
    const auto stack = process::read_task_file(target.pid(), tid, "stack");
    const auto stat = process::read_stat(target.pid(), tid);
    if (!stat || stat->state != kUninterruptible) return;
    if (!thread.wait) {
        thread.wait.emplace();
        thread.wait->wait.kind = WaitKind::kKernel;
    }
    // "0": it is hidden, or the thread runs.
    if (function && *function != "0") thread.wait->wait.kernel_function = *function;
    if (stack) thread.wait->wait.kernel_stack = waits::parse_kernel_stack(*stack);
}

}  // namespace

void find_restarted_calls(const LiveTarget& target, RawSnapshot& raw) {
    for (const RawThread& thread : raw.threads) {
        if (!thread.info || !thread.call || thread.call->number != arch::kRestartSyscall) continue;
        const std::int32_t tid = raw.infos[*thread.info].tid;
        const auto function = process::read_task_file(target.pid(), tid, "wchan");
        if (!function || target.blocked_syscall(tid) != thread.call) continue;
        if (const auto number = waits::restarted_call(*function)) raw.restarted[tid] = *number;
    }
}

void add_kernel_facts(const LiveTarget& target, RawSnapshot& raw) {
    add_other_ends(target, add_descriptors(target, raw.threads));
    Movement movement(target);
    for (RawThread& thread : raw.threads) {
        add_kernel_state(target, raw, thread);
        if (!thread.wait) continue;
        add_time_left(*thread.wait);
        model::Wait& wait = thread.wait->wait;
        // The number is that of another pid namespace.
        if (target.namespace_pid() && wait.kind == WaitKind::kProcess) wait.pid.reset();
        if (wait.kind == WaitKind::kProcess && wait.pid)
            wait.command = waits::command_of(*wait.pid);
        // Likewise.
        if (target.namespace_pid()) wait.pool_processes.clear();
        for (model::ProcessName& process : wait.pool_processes)
            process.command = waits::command_of(process.pid);
        const bool asked =
            !wait.target.empty() || !wait.command.empty() || !wait.other_ends.empty();
        if (asked && movement.of(raw, thread, thread.wait->call)) forget(wait);
    }
    add_peer_waits(target, raw);
}

}  // namespace pystack::snapshot
