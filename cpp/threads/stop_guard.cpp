#include "threads/stop_guard.h"

#include <sched.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include <elf.h>
#include <algorithm>
#include <cerrno>
#include <ctime>
#include <utility>

#include "threads/proc_files.h"

namespace pystack::threads {

namespace {

using Clock = std::chrono::steady_clock;

/// Busy waiting answers within microseconds. A thread that takes longer needs our core, which it
/// does not get from a reader of higher priority by sched_yield, or is in a long kernel path.
constexpr auto kSpin = std::chrono::microseconds(20);
constexpr timespec kPause{.tv_sec = 0, .tv_nsec = 10'000};

bool is_job_control_stop(int signal) {
    return signal == SIGSTOP || signal == SIGTSTP || signal == SIGTTIN || signal == SIGTTOU;
}

}  // namespace

Result<StopGuard> StopGuard::stop(pid_t pid, const Limits& limits) {
    StopGuard guard(pid);
    // Seizing does not stop a thread: it is done for all before the clock starts. Threads that are
    // born meanwhile are found by listing again until nothing is new; once all are stopped none can
    // be born.
    for (;;) {
        const std::vector<pid_t> tids = list_tasks(pid);
        if (tids.empty()) {
            return fail(Error{.code = ErrorCode::kNoSuchProcess, .what = "no such process"});
        }
        const std::size_t known = guard.threads_.size();
        for (const pid_t tid : tids) {
            const auto seen = [tid](const StoppedThread& thread) { return thread.tid == tid; };
            if (std::any_of(guard.threads_.begin(), guard.threads_.end(), seen)) continue;
            if (std::binary_search(limits.except.begin(), limits.except.end(), tid)) continue;
            if (guard.threads_.size() >= limits.max_threads) break;
            if (auto seized = guard.seize(tid); !seized) {
                // A thread that has just ended, or a main thread that ended before the others.
                const auto stat = read_stat(pid, tid);
                if (!stat || stat->state == 'Z' || stat->state == 'X') continue;
                return fail(std::move(seized).error());
            }
        }
        if (guard.threads_.size() == known) break;
        if (!guard.begin_) guard.begin_ = Clock::now();
        for (std::size_t i = known; i < guard.threads_.size(); ++i) {
            ::ptrace(PTRACE_INTERRUPT, guard.threads_[i].tid, nullptr, nullptr);
        }
        guard.wait_for_all(limits);
    }
    if (guard.threads_.empty() && limits.except.empty()) {
        return fail(Error{.code = ErrorCode::kTargetExited, .what = "the process exited"});
    }
    return guard;
}

StopGuard::StopGuard(StopGuard&& other) noexcept
    : pid_(other.pid_),
      threads_(std::move(other.threads_)),
      was_stopped_(other.was_stopped_),
      released_(std::exchange(other.released_, true)),
      begin_(other.begin_),
      end_(other.end_) {
    other.threads_.clear();
}

StopGuard::~StopGuard() {
    release();
}

Result<void> StopGuard::seize(pid_t tid) {
    if (::ptrace(PTRACE_SEIZE, tid, nullptr, nullptr) == 0) {
        threads_.push_back({.tid = tid});
        return {};
    }
    if (errno == EPERM || errno == EACCES) {
        return fail(
            Error{.code = ErrorCode::kPermissionDenied, .what = "not allowed to stop the process"});
    }
    if (errno == ESRCH)
        return fail(Error{.code = ErrorCode::kNoSuchProcess, .what = "no such process"});
    return fail(system_error("ptrace(PTRACE_SEIZE)"));
}

bool StopGuard::collect(StoppedThread& thread) {
    int status = 0;
    const pid_t answer = ::waitpid(thread.tid, &status, __WALL | WNOHANG);
    if (answer == 0) return false;
    if (answer < 0 || !WIFSTOPPED(status)) {
        thread.tid = 0;  // It ended.
        return true;
    }
    thread.stopped = true;
    const int signal = WSTOPSIG(status);
    if (status >> 16 == PTRACE_EVENT_STOP) {
        was_stopped_ = was_stopped_ || is_job_control_stop(signal);
    } else if (status >> 16 == 0) {
        thread.pending_signal = signal;
    }
    return true;
}

bool StopGuard::sleeps_uninterruptibly(pid_t tid) const {
    const auto stat = read_stat(pid_, tid);
    return stat && stat->state == 'D';
}

void StopGuard::wait_for_all(const Limits& limits) {
    const auto deadline = *begin_ + limits.patience;
    const auto last_deadline = *begin_ + limits.busy_patience;
    const auto spin_end = Clock::now() + kSpin;
    for (StoppedThread& thread : threads_) {
        while (!thread.stopped && thread.tid != 0 && !collect(thread)) {
            const auto now = Clock::now();
            if (now >= last_deadline || (now >= deadline && sleeps_uninterruptibly(thread.tid)))
                break;
            if (now < spin_end) {
                ::sched_yield();
            } else {
                ::nanosleep(&kPause, nullptr);
            }
        }
    }
    std::erase_if(threads_, [](const StoppedThread& thread) { return thread.tid == 0; });
}

void StopGuard::release() {
    if (std::exchange(released_, true)) return;
    for (StoppedThread& thread : threads_) {
        if (!thread.stopped) collect(thread);
        if (thread.tid == 0) continue;
        // On a thread that could not be stopped this fails; it is let go when our own thread ends.
        ::ptrace(PTRACE_DETACH, thread.tid, nullptr,
                 reinterpret_cast<void*>(static_cast<std::intptr_t>(thread.pending_signal)));
    }
    end_ = Clock::now();
}

Result<Registers> StopGuard::registers(pid_t tid) const {
    Registers registers;
    iovec data{&registers.raw, sizeof registers.raw};
    if (::ptrace(PTRACE_GETREGSET, tid, reinterpret_cast<void*>(NT_PRSTATUS), &data) != 0) {
        return fail(system_error("ptrace(PTRACE_GETREGSET)"));
    }
    return registers;
}

std::chrono::nanoseconds StopGuard::stop_time() const {
    if (!begin_) return {};
    return end_.value_or(Clock::now()) - *begin_;
}

}  // namespace pystack::threads
