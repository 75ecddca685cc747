#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "process/open_proc_file.h"

namespace pystack::sampling {

/// Which of many threads have not run since their stacks were proved, without asking about each: a
/// thread that has not run has the stack that it had. The run time of a process is the sum of those
/// of its threads; as long as it grows by what those that are awake have run, nobody else ran. That
/// takes one call for the process and two for each thread that is awake.
///
/// The kernel adds to a run time when a thread leaves its CPU and at its scheduler's ticks, so a
/// thread that wakes may be noticed up to 10 ms later. So only a thread that has not
/// run for long is idle, and wake() is there for those that show otherwise that they ran.
class IdleThreadFilter {
  public:
    /// `pid` in our own pid namespace.
    explicit IdleThreadFilter(pid_t pid) : pid_(pid) {}

    /// Before the stacks of a tick are read. True when some are not idle any more.
    bool find_woken(std::uint64_t now_ns);
    bool is_idle(pid_t tid) const { return idle_.contains(tid); }
    void wake(pid_t tid, std::uint64_t now_ns);

    /// After the stacks of a tick were read. `asleep`: all whose stacks have been the same for
    /// long, at this tick too, and that were seen blocked; idle or not.
    void mark_idle(std::span<const pid_t> asleep, std::uint64_t now_ns);

  private:
    struct Thread {
        process::OpenProcFile file{"schedstat"};
        std::uint64_t run_ns = 0;
        std::uint64_t since_ns = 0;  ///< When the run time was first found to be this.
    };
    using Threads = std::unordered_map<pid_t, std::unique_ptr<Thread>>;

    void list_threads(std::uint64_t now_ns);
    bool is_time_to_begin(std::size_t asleep, std::uint64_t now_ns);
    void settle(std::uint64_t now_ns);
    bool wake_runners(std::uint64_t now_ns);
    void give_up(std::uint64_t now_ns);
    std::optional<std::uint64_t> read_awake(std::uint64_t now_ns);
    std::optional<std::uint64_t> read_idle(std::uint64_t now_ns);

    static constexpr std::uint64_t kFirstKeepOffNs = 1'000'000'000;

    const pid_t pid_;
    Threads awake_;
    Threads idle_;
    /// What the process has run without those awake, as long as nobody who rests does.
    std::uint64_t idle_ns_ = 0;
    std::uint64_t listed_ns_ = 0;      ///< When those awake were listed; 0: they are not.
    int disturbance_ = 0;              ///< How many ticks of late found that somebody had run.
    std::uint64_t not_before_ns_ = 0;  ///< When to try again.
    std::uint64_t keep_off_ns_ = kFirstKeepOffNs;
};

}  // namespace pystack::sampling
