#include "sampling/idle_threads.h"

#include <algorithm>
#include <utility>

#include "process/proc_files.h"
#include "process/process_clock.h"

namespace pystack::sampling {

namespace {

/// With fewer, looking at their stacks is as cheap.
constexpr std::size_t kFewest = 8;
/// Longer than between two ticks of any scheduler: who has the same run time after that does not
/// run.
constexpr std::uint64_t kUnchangedForNs = 20'000'000;
/// Threads that run all the time are charged at some moments only, rarely just at ours.
constexpr int kAttempts = 3;
/// Finding out who ran takes as long as looking at all: it does not pay when a third of the ticks
/// have to.
constexpr int kPerDisturbance = 2;
constexpr int kMostDisturbance = 40;
constexpr std::uint64_t kLongestKeepOffNs = 64'000'000'000;

}  // namespace

bool IdleThreadFilter::find_woken(std::uint64_t now_ns) {
    if (idle_.empty()) return false;
    const auto run_ns = read_idle(now_ns);
    if (run_ns && *run_ns == idle_ns_) {
        if (disturbance_ > 0 && --disturbance_ == 0) keep_off_ns_ = kFirstKeepOffNs;
        return false;
    }
    disturbance_ += kPerDisturbance;
    if (disturbance_ < kMostDisturbance) {
        settle(now_ns);
    } else {
        give_up(now_ns);
    }
    return true;
}

void IdleThreadFilter::wake(pid_t tid, std::uint64_t now_ns) {
    auto thread = idle_.extract(tid);
    if (!thread) return;
    idle_ns_ -= thread.mapped()->run_ns;
    thread.mapped()->since_ns = now_ns;
    awake_.insert(std::move(thread));
}

void IdleThreadFilter::mark_idle(std::span<const pid_t> asleep, std::uint64_t now_ns) {
    if (idle_.empty() && !is_time_to_begin(asleep.size(), now_ns)) return;
    const bool begins = idle_.empty();
    for (const pid_t tid : asleep) {
        const auto place = awake_.find(tid);
        if (place == awake_.end() || place->second->run_ns == 0) continue;
        if (now_ns - place->second->since_ns < kUnchangedForNs) continue;
        idle_ns_ += place->second->run_ns;
        idle_.insert(awake_.extract(place));
    }
    if (begins) settle(now_ns);
}

/// In two steps, so that the run times of the first are found again in the second.
bool IdleThreadFilter::is_time_to_begin(std::size_t asleep, std::uint64_t now_ns) {
    if (asleep < kFewest || now_ns < not_before_ns_) return false;
    if (listed_ns_ == 0) {
        list_threads(now_ns);
        listed_ns_ = now_ns;
    } else if (now_ns - listed_ns_ < kUnchangedForNs) {
        return false;
    }
    read_awake(now_ns);
    return now_ns > listed_ns_;
}

/// Finds out who has run, and from when on the run time of the others counts.
void IdleThreadFilter::settle(std::uint64_t now_ns) {
    for (int attempt = 0; attempt < kAttempts; ++attempt) {
        list_threads(now_ns);
        if (idle_.size() < kFewest || idle_.size() < awake_.size()) break;
        const auto run_ns = read_idle(now_ns);
        // After that: who has run until now is not among those who are known not to.
        if (wake_runners(now_ns) || !run_ns) continue;
        idle_ns_ = *run_ns;
        return;
    }
    give_up(now_ns);
}

bool IdleThreadFilter::wake_runners(std::uint64_t now_ns) {
    bool found = false;
    for (auto place = idle_.begin(); place != idle_.end();) {
        const auto thread = place++;
        if (process::read_run_time_ns(thread->second->file) == thread->second->run_ns) continue;
        found = true;
        thread->second->since_ns = now_ns;
        awake_.insert(idle_.extract(thread));
    }
    return found;
}

void IdleThreadFilter::give_up(std::uint64_t now_ns) {
    awake_.clear();
    idle_.clear();
    listed_ns_ = 0;
    disturbance_ = 0;
    not_before_ns_ = now_ns + keep_off_ns_;
    keep_off_ns_ = std::min(keep_off_ns_ * 2, kLongestKeepOffNs);
}

/// New ones are awake; of those that rest, wake_runners() finds who is gone.
void IdleThreadFilter::list_threads(std::uint64_t now_ns) {
    Threads awake;
    for (const pid_t tid : process::list_tasks(pid_)) {
        if (idle_.contains(tid)) continue;
        auto known = awake_.extract(tid);
        if (known) {
            awake.insert(std::move(known));
            continue;
        }
        auto thread = std::make_unique<Thread>();
        thread->file.set_thread(pid_, tid);
        thread->since_ns = now_ns;
        awake.emplace(tid, std::move(thread));
    }
    awake_ = std::move(awake);
}

/// The sum of the run times of those awake; nullopt when one of them is gone.
std::optional<std::uint64_t> IdleThreadFilter::read_awake(std::uint64_t now_ns) {
    std::uint64_t sum = 0;
    bool all = true;
    for (auto& [tid, thread] : awake_) {
        const auto run_ns = process::read_run_time_ns(thread->file);
        all = all && run_ns;
        if (!run_ns) continue;
        if (thread->run_ns != *run_ns) {
            thread->run_ns = *run_ns;
            thread->since_ns = now_ns;
        }
        sum += *run_ns;
    }
    return all ? std::optional(sum) : std::nullopt;
}

/// The run time of the process without that of those awake; nullopt when it cannot be had.
std::optional<std::uint64_t> IdleThreadFilter::read_idle(std::uint64_t now_ns) {
    auto before = read_awake(now_ns);
    for (int attempt = 0; attempt < kAttempts && before; ++attempt) {
        const auto all = process::process_run_time_ns(pid_);
        const auto after = read_awake(now_ns);
        if (!all) return std::nullopt;
        if (before == after) return *all - *before;
        before = after;
    }
    return std::nullopt;
}

}  // namespace pystack::sampling
