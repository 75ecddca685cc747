#pragma once

#include <sys/types.h>

#include <atomic>
#include <map>
#include <memory>
#include <utility>

#include "memory/limited_memory.h"
#include "memory/process_memory.h"
#include "process/stop_guard.h"
#include "target/process_files.h"
#include "target/target.h"

namespace pystack::target {

/// A running process. The pid is in our own pid namespace; the target may live in other pid and
/// mount namespaces, and its files may have been replaced or deleted since it opened them.
class LiveTarget final : public Target {
  public:
    /// Fails with the reason why this process can never be read: kNoSuchProcess, kPermissionDenied,
    /// kNotPython (kernel thread) or kUnsupportedTarget (zombie, 32-bit). A thread's id is taken as
    /// its process.
    static Result<std::unique_ptr<LiveTarget>> open(
        pid_t pid, std::shared_ptr<WorkLimits> limits = std::make_shared<WorkLimits>());

    std::int32_t pid() const override { return pid_; }
    std::optional<std::int32_t> namespace_pid() const override { return namespace_pid_; }
    const memory::MemoryReader& memory() const override { return limited_; }
    Result<std::vector<elf::Mapping>> mappings() const override;
    Result<std::vector<elf::Module>> modules() const override;
    Result<MemoryMap> memory_map() const override;
    std::vector<std::string> left_out_parts() const override;
    /// Whether there are such, without their texts: a sampler asks at each tick.
    bool has_left_out_parts() const { return mappings_cut_ || images_refused_; }
    Result<void> open_module(elf::Module& module) const override;
    Result<std::vector<ThreadInfo>> threads() const override;
    std::size_t thread_count() const override;
    Result<arch::Registers> registers(std::int32_t tid) const override;
    std::optional<arch::Syscall> blocked_syscall(std::int32_t tid) const override;
    Result<files::FileDescriptor> open_perf_map() const override;
    std::optional<std::string> executable() const override;
    std::optional<std::vector<std::string>> command() const override;

    /// For files that the process names. Null if its root cannot be opened.
    std::shared_ptr<const files::FileOpener> files() const { return files_; }

    /// False once the process has ended, even when its pid was given to another.
    bool alive() const;

    /// How long a thread has been on a CPU, in nanoseconds.
    std::optional<std::uint64_t> run_time_ns(std::int32_t tid) const;

    /// How stops are made.
    struct StopRules {
        process::StopClock::Rules clock;
        process::StopGuard::Limits limits;  ///< Of stops of all threads.
    };
    /// Before the first stop.
    void set_stop_rules(const StopRules& rules) { stop_rules_ = rules; }
    /// Stops every thread until the guard is destroyed; registers() works meanwhile. One guard at a
    /// time. Reads fail when the stop has lasted for too long; stop_was_cut() tells after its end.
    Result<process::StopGuard> stop() { return stop(stop_rules_.limits); }
    /// Stops one thread. It may not stand still: if it gets no CPU within `patience`, or sleeps
    /// uninterruptibly. Then it will stop before it runs any of its own code again, and stays so
    /// until it is stopped here again or released by release_late_threads().
    Result<process::StopGuard> stop_thread(pid_t tid, std::chrono::milliseconds patience);
    /// As stop() and stop_thread(); tries again for half a second while another process traces the
    /// target, and for a moment where the kernel refuses for other reasons, as it does while a
    /// program is executed.
    Result<process::StopGuard> stop_patiently() { return stop_patiently(stop_rules_.limits); }
    /// Whether threads may be stopped at all: stops the main one for a moment.
    Result<void> check_stops();
    bool stop_was_cut() const { return stop_clock_ && stop_clock_->was_over(); }
    /// Whether the last stop was cut, or given up, because it would have taken too long.
    bool stop_was_too_long() const { return stop_clock_ && stop_clock_->was_too_long(); }
    /// How long the target has stood still in all stops.
    std::chrono::nanoseconds standing_time() const {
        return stop_clock_ ? stop_clock_->standing_time() : std::chrono::nanoseconds(0);
    }
    /// To be called often until it is false: see StopGuard::release_late.
    bool release_late_threads();
    /// The thread that made the stops has ended, and so the kernel let go what was late.
    void forget_late_threads();
    void use_registers_of(const process::StopGuard* guard) { guard_ = guard; }

  private:
    /// This part of the memory limit may go to opened files.
    static constexpr std::uint64_t kImageShare = 4;

    LiveTarget(pid_t pid, pid_t living, std::optional<pid_t> namespace_pid,
               std::uint64_t start_ticks, const std::shared_ptr<WorkLimits>& limits)
        : Target(limits),
          pid_(pid),
          living_(living),
          namespace_pid_(namespace_pid),
          start_ticks_(start_ticks),
          memory_(living),
          limited_(memory_, limits),
          image_share_(*limits, kImageShare) {}

    Result<process::StopGuard> stop(const process::StopGuard::Limits& limits);
    Result<process::StopGuard> stop_patiently(const process::StopGuard::Limits& limits);
    Result<void> check_memory() const;
    bool is_traced_by_others() const;
    std::string proc_path(const char* name) const;
    std::optional<files::FileDescriptor> open_file_of(const elf::Module& module) const;
    Result<std::shared_ptr<const elf::ElfImage>> open_image(const elf::Module& module) const;

    pid_t pid_;
    /// The thread by whose files and memory the process is read: those of a main thread that has
    /// ended are empty, though its process lives on.
    pid_t living_;
    std::optional<pid_t> namespace_pid_;
    std::uint64_t start_ticks_;
    memory::ProcessMemory memory_;
    memory::LimitedMemory limited_;
    std::shared_ptr<const ProcessFiles> files_;
    StopRules stop_rules_;
    std::unique_ptr<process::StopClock> stop_clock_;  ///< Since the first stop.
    const process::StopGuard* guard_ = nullptr;
    mutable std::atomic<bool> mappings_cut_ = false;
    mutable std::atomic<bool> images_refused_ = false;
    mutable std::map<std::pair<std::uint64_t, std::uint64_t>, std::shared_ptr<const elf::ElfImage>>
        images_;  ///< By (device, inode).
    mutable LimitsShare image_share_;
};

}  // namespace pystack::target
