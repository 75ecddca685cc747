#include "process/stop_guard.h"

#include <sched.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <elf.h>
#include <algorithm>
#include <cerrno>
#include <ctime>
#include <utility>

#include "process/own_tid.h"
#include "process/proc_files.h"
#include "process/seize.h"
#include "process/thread_wait.h"

namespace pystack::process {

namespace {

using Clock = std::chrono::steady_clock;

/// Busy waiting answers within microseconds. A thread that takes longer needs our core, which it
/// does not get from a reader of higher priority by sched_yield, or is in a long kernel path.
constexpr auto kSpin = std::chrono::microseconds(20);
/// Between two looks at threads for which others wait, and at the only one, which stands still
/// until it is looked at.
constexpr long kLongestPauseNs = 200'000;
constexpr long kLongestPauseForOneNs = 50'000;
constexpr timespec kLongPause{.tv_sec = 0, .tv_nsec = 1'000'000};
constexpr int kMostPauses = 1000;  // If the watchdog has died.
constexpr timespec kPause{.tv_sec = 0, .tv_nsec = 10'000};

/// Looking for the first thread that stands still takes longer, the more are seized.
constexpr std::size_t kInterruptsPerLook = 16;
constexpr std::size_t kSeizedPerLook = 256;
/// Of the threads that were only seized.
constexpr std::size_t kReleasedAtOnce = 32;

/// What is left of a stop waits so long for a thread that is on its way to stand still.
constexpr auto kLatePatience = std::chrono::milliseconds(2);

/// False if it does not stand still any more, because it was killed meanwhile: it is ours until it
/// has been collected, and who killed it (another thread that executes a program) waits for that.
bool let_go(const StoppedThread& thread) {
    return ::ptrace(PTRACE_DETACH, thread.tid, nullptr,
                    reinterpret_cast<void*>(static_cast<std::intptr_t>(thread.pending_signal))) ==
           0;
}

/// Also true of threads that have ended and were not collected yet.
bool is_thread_of(pid_t pid, pid_t tid) {
    return ::syscall(SYS_tgkill, pid, tid, 0) == 0 || errno != ESRCH;
}

}  // namespace

Result<StopGuard> StopGuard::stop(pid_t pid, const Limits& limits, StopClock* clock) {
    // From the first seized thread on: even one that was not interrupted stops at its next signal.
    for (int pauses = 0; clock != nullptr && !clock->begin() && pauses < kMostPauses; ++pauses) {
        release_late(*clock);
        ::nanosleep(&kLongPause, nullptr);
    }
    // Who stops one thread after the other comes back to those that were late.
    if (clock != nullptr && limits.only == 0) release_late(*clock);
    StopGuard guard(pid, limits.only, clock);
    PYSTACK_CHECK(guard.hold_all(limits));
    if (guard.threads_.empty()) {
        const char* const what = limits.only == 0 ? "the process exited" : "the thread ended";
        return fail(Error{.code = ErrorCode::kTargetExited, .what = what});
    }
    return guard;
}

Result<void> StopGuard::hold_all(const Limits& limits) {
    const auto too_long = [] {
        return fail(Error{.code = ErrorCode::kSystem,
                          .what = "the process could not be stopped and read in time"});
    };
    // Seizing does not stop a thread: it is done for all before the clock starts. Threads that are
    // born meanwhile are found by listing again until nothing is new; once all are stopped none can
    // be born.
    std::chrono::nanoseconds listing{};
    for (;;) {
        const std::size_t known = threads_.size();
        // Listing cannot be cut short.
        if (is_over(listing)) return too_long();
        const auto before = Clock::now();
        const std::vector<pid_t> tids = only_ != 0 ? std::vector<pid_t>{only_} : list_tasks(pid_);
        listing = Clock::now() - before;
        PYSTACK_CHECK(seize_all(tids, limits));
        if (is_over()) return too_long();
        if (threads_.size() == known) return {};
        if (!begin_) {
            begin_ = looked_at_ = Clock::now();
            if (clock_ != nullptr) clock_->raise_priority_for_stop();
        }
        interrupt_all();
        if (!wait_for_all(limits)) return too_long();
        note_uninterruptible();
    }
}

/// Up to the moment when the stop is over.
void StopGuard::interrupt_all() {
    while (interrupted_ < threads_.size() && !is_over()) {
        ::ptrace(PTRACE_INTERRUPT, threads_[interrupted_++].tid, nullptr, nullptr);
        if (clock_ != nullptr) clock_->set_held(interrupted_);
        if (!stands_since_ && interrupted_ % kInterruptsPerLook == 0) note_first_standstill();
    }
}

/// Which thread it is does not matter: the stop is collected later.
void StopGuard::note_first_standstill() {
    siginfo_t info{};
    constexpr int kAnyStop = WSTOPPED | WNOHANG | WNOWAIT | __WALL | __WNOTHREAD;
    if (::waitid(P_ALL, 0, &info, kAnyStop) == 0 && info.si_pid != 0) note_standstill();
}

void StopGuard::note_standstill() {
    if (stands_since_) return;
    stands_since_ = looked_at_;
    if (clock_ != nullptr) clock_->note_standstill();
}

/// The next stop does not wait for them.
void StopGuard::note_uninterruptible() {
    if (clock_ == nullptr) return;
    std::vector<pid_t>& tids = clock_->uninterruptible_threads();
    std::erase_if(tids, [this](pid_t tid) { return only_ == 0 || tid == only_; });
    for (const StoppedThread& thread : threads_) {
        if (!thread.stopped && sleeps_uninterruptibly(thread.tid)) tids.push_back(thread.tid);
    }
    std::sort(tids.begin(), tids.end());
}

Result<void> StopGuard::seize_all(std::span<const pid_t> tids, const Limits& limits) {
    if (tids.empty()) {
        return fail(Error{.code = ErrorCode::kNoSuchProcess, .what = "no such process"});
    }
    const std::size_t known = threads_.size();
    for (const pid_t tid : tids) {
        if (is_over()) break;
        if (only_ != 0 && !is_thread_of(pid_, tid)) break;
        if (std::binary_search(seen_.begin(), seen_.end(), tid)) continue;
        if (threads_.size() >= limits.max_threads) break;
        if (auto seized = seize(tid); !seized) {
            // A thread that has just ended, or a main thread that ended before the others.
            const auto stat = read_stat(pid_, tid);
            if (!stat || stat->has_ended()) continue;
            return seized;
        }
        // Its id may have become another one's just before. From now on it stays its own.
        if (only_ != 0 && !is_thread_of(pid_, tid)) {
            return fail(Error{.code = ErrorCode::kTargetExited, .what = "the thread ended"});
        }
        threads_.back().uninterruptible = is_known_uninterruptible(tid);
        // A signal stops a seized thread.
        if (!stands_since_ && threads_.size() % kSeizedPerLook == 0) note_first_standstill();
    }
    for (std::size_t i = known; i < threads_.size(); ++i) seen_.push_back(threads_[i].tid);
    std::sort(seen_.begin(), seen_.end());
    return {};
}

StopGuard::StopGuard(StopGuard&& other) noexcept
    : pid_(other.pid_),
      only_(other.only_),
      clock_(other.clock_),
      threads_(std::move(other.threads_)),
      seen_(std::move(other.seen_)),
      interrupted_(other.interrupted_),
      was_stopped_(other.was_stopped_),
      released_(std::exchange(other.released_, true)),
      begin_(other.begin_),
      stands_since_(other.stands_since_),
      looked_at_(other.looked_at_),
      end_(other.end_) {
    other.threads_.clear();
}

StopGuard::~StopGuard() {
    release();
}

Result<void> StopGuard::seize(pid_t tid) {
    const int error = process::seize(tid, threads_, clock_);
    if (error == 0) {
        threads_.push_back({.tid = tid});
        return {};
    }
    if (error == EPERM || error == EACCES) {
        // Seized by an earlier guard that could not stop it, or as another thread: one that
        // executes a program takes the main thread's id.
        if (is_ours(tid)) {
            threads_.push_back({.tid = tid});
            if (clock_ != nullptr)
                clock_->drop_late_threads([tid](pid_t late) { return late == tid; });
            return {};
        }
        return fail(Error{.code = ErrorCode::kPermissionDenied,
                          .what = "no permission to stop the process"});
    }
    if (error == ESRCH)
        return fail(Error{.code = ErrorCode::kNoSuchProcess, .what = "no such process"});
    errno = error;
    return fail(system_error("ptrace(PTRACE_SEIZE)"));
}

bool StopGuard::is_ours(pid_t tid) const {
    const auto status = read_proc_file("/proc/" + std::to_string(pid_) + "/task/" +
                                       std::to_string(tid) + "/status");
    return status && status_field(*status, "TracerPid") == std::to_string(own_tid());
}

bool StopGuard::collect(StoppedThread& thread) {
    const std::optional<TraceStop> stop = take_stop(thread.tid);
    if (!stop) {
        if (!take_end(thread.tid)) return false;
        thread.tid = 0;
        return true;
    }
    thread.stopped = true;
    was_stopped_ = was_stopped_ || stop->is_job_control();
    if (stop->event == 0) thread.pending_signal = stop->signal;
    return true;
}

bool StopGuard::sleeps_uninterruptibly(pid_t tid) const {
    const auto stat = read_stat(pid_, tid);
    return stat && stat->state == 'D';
}

bool StopGuard::is_known_uninterruptible(pid_t tid) const {
    if (clock_ == nullptr) return false;
    const std::vector<pid_t>& tids = clock_->uninterruptible_threads();
    return std::binary_search(tids.begin(), tids.end(), tid) && sleeps_uninterruptibly(tid);
}

/// False if it is to be given up.
bool StopGuard::wait_for_all(const Limits& limits) {
    const auto spin_end = Clock::now() + kSpin;
    timespec pause = kPause;
    for (;;) {
        const auto look = Clock::now();
        if (collect_all()) break;
        looked_at_ = look;
        if (is_over()) return false;
        if (waits_in_vain(limits)) break;
        if (Clock::now() < spin_end) {
            ::sched_yield();
        } else {
            ::nanosleep(&pause, nullptr);
            // Each look takes the CPU away from whoever runs, which may be the thread waited for.
            pause.tv_nsec = std::min(2 * pause.tv_nsec, longest_pause_ns());
        }
    }
    std::erase_if(threads_, [](const StoppedThread& thread) { return thread.tid == 0; });
    interrupted_ = threads_.size();
    return !is_over();
}

/// Between two looks at the threads.
long StopGuard::longest_pause_ns() const {
    if (only_ != 0) return kLongestPauseForOneNs;
    return stands_since_ ? kLongestPauseNs : kLongPause.tv_nsec;
}

/// Whether all stand still, or have ended.
bool StopGuard::collect_all() {
    bool all = true;
    for (StoppedThread& thread : threads_) {
        if (thread.stopped || thread.tid == 0) continue;
        if (!collect(thread)) {
            all = all && thread.uninterruptible;
        } else if (thread.stopped) {
            note_standstill();
        }
        if (is_over()) return false;
    }
    return all;
}

bool StopGuard::waits_in_vain(const Limits& limits) const {
    const auto now = Clock::now();
    if (now >= *begin_ + limits.first_patience) return true;
    if (stands_since_ && now >= *stands_since_ + limits.busy_patience) return true;
    if (now < *begin_ + limits.patience) return false;
    return std::all_of(threads_.begin(), threads_.end(), [this](const StoppedThread& thread) {
        return thread.stopped || thread.tid == 0 || thread.uninterruptible ||
               sleeps_uninterruptibly(thread.tid);
    });
}

void StopGuard::release() {
    if (std::exchange(released_, true)) return;
    if (is_late()) {
        // It must not run before the next guard has it.
        clock_->add_late_thread(only_);
    } else {
        let_go_standing();
        let_go_late(std::span(threads_).first(interrupted_));
    }
    end_ = Clock::now();
    if (clock_ != nullptr) clock_->note_running();
    // A seized thread can be let go only when it stands still. Of those that were not interrupted
    // only a few do so at a time, and each for a moment.
    for (std::size_t i = interrupted_; i < threads_.size(); i += kReleasedAtOnce) {
        const auto some =
            std::span(threads_).subspan(i, std::min(kReleasedAtOnce, threads_.size() - i));
        for (const StoppedThread& thread : some) {
            ::ptrace(PTRACE_INTERRUPT, thread.tid, nullptr, nullptr);
        }
        let_go_late(some);
    }
    if (clock_ != nullptr) clock_->end();
}

/// Whether the only thread was asked to stop and has not been seen to.
bool StopGuard::is_late() const {
    return only_ != 0 && clock_ != nullptr && interrupted_ == 1 && !threads_.front().stopped;
}

/// Those that stand still now.
void StopGuard::let_go_standing() {
    const auto begin = Clock::now();
    std::size_t released = 0;
    for (StoppedThread& thread : std::span(threads_).first(interrupted_)) {
        if (thread.tid == 0 || (!thread.stopped && !collect(thread))) continue;
        if (thread.tid != 0) thread.stopped = let_go(thread);
        ++released;
        if (clock_ != nullptr) clock_->share_cpu();
    }
    if (clock_ != nullptr) clock_->note_release(released, Clock::now() - begin);
}

/// The others stop in a moment, or the clock keeps them in mind. Without one they are let go when
/// our thread ends. That they were not stopped is not changed.
void StopGuard::let_go_late(std::span<StoppedThread> threads) {
    std::vector<StoppedThread> late;
    for (const StoppedThread& thread : threads) {
        if (thread.stopped || thread.tid == 0) continue;
        if (!thread.uninterruptible) {
            late.push_back(thread);
        } else if (clock_ != nullptr) {
            clock_->add_late_thread(thread.tid);
        }
    }
    const auto end = Clock::now() + kLatePatience;
    for (;;) {
        std::erase_if(late, [this](StoppedThread& thread) {
            return collect(thread) && (thread.tid == 0 || let_go(thread));
        });
        if (late.empty() || Clock::now() >= end) break;
        ::nanosleep(&kPause, nullptr);
        if (clock_ != nullptr) clock_->share_cpu();
    }
    for (const StoppedThread& thread : late) {
        if (clock_ != nullptr) clock_->add_late_thread(thread.tid);
    }
}

bool StopGuard::release_late(StopClock& clock) {
    StopGuard guard(0, 0, nullptr);
    return clock.drop_late_threads([&guard](pid_t tid) {
        StoppedThread thread{.tid = tid};
        return guard.collect(thread) && (thread.tid == 0 || let_go(thread));
    });
}

Result<arch::Registers> StopGuard::registers(pid_t tid) const {
    if (is_over()) return fail(Error{.code = ErrorCode::kSystem, .what = "the stop is over"});
    arch::Registers registers;
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

std::chrono::nanoseconds StopGuard::standing_time() const {
    if (!stands_since_) return {};
    return end_.value_or(Clock::now()) - *stands_since_;
}

}  // namespace pystack::process
