#pragma once

#include <sys/types.h>

#include <map>
#include <memory>
#include <utility>

#include "memory/process_memory.h"
#include "target/target.h"
#include "threads/stop_guard.h"

namespace pystack::target {

/// A running process. The pid is in our own pid namespace; the target may live in other pid and
/// mount namespaces, and its files may have been replaced or deleted since it opened them.
class LiveTarget final : public Target {
  public:
    /// Fails with the reason why this process can never be read: kNoSuchProcess, kPermissionDenied,
    /// or kUnsupportedTarget (zombie, kernel thread, 32-bit). A thread's id is taken as its
    /// process.
    static Result<std::unique_ptr<LiveTarget>> open(pid_t pid);

    std::int32_t pid() const override { return pid_; }
    std::optional<std::int32_t> namespace_pid() const override { return namespace_pid_; }
    const memory::MemoryReader& memory() const override { return memory_; }
    Result<std::vector<elf::Mapping>> mappings() const override;
    Result<std::vector<elf::Module>> modules() const override;
    Result<void> open_module(elf::Module& module) const override;
    Result<std::vector<ThreadInfo>> threads() const override;
    Result<threads::Registers> registers(std::int32_t tid) const override;
    std::optional<threads::Syscall> blocked_syscall(std::int32_t tid) const override;
    std::optional<std::string> executable() const override;
    std::optional<std::vector<std::string>> command() const override;

    /// False once the process has ended, even when its pid was given to another.
    bool alive() const;

    /// How long a thread has been on a CPU, in nanoseconds.
    std::optional<std::uint64_t> run_time_ns(std::int32_t tid) const;

    /// Stops every thread, but for those named, by rising tid, until the guard is destroyed;
    /// registers() works meanwhile. One guard at a time.
    Result<threads::StopGuard> stop(std::span<const pid_t> except = {}) const;
    void use_registers_of(const threads::StopGuard* guard) { guard_ = guard; }

  private:
    LiveTarget(pid_t pid, std::optional<pid_t> namespace_pid, std::uint64_t start_ticks)
        : pid_(pid), namespace_pid_(namespace_pid), start_ticks_(start_ticks), memory_(pid) {}

    std::string proc_path(const char* name) const;
    Result<std::shared_ptr<const elf::ElfImage>> open_image(const elf::Module& module) const;

    pid_t pid_;
    std::optional<pid_t> namespace_pid_;
    std::uint64_t start_ticks_;
    memory::ProcessMemory memory_;
    const threads::StopGuard* guard_ = nullptr;
    mutable std::map<std::pair<std::uint64_t, std::uint64_t>, std::shared_ptr<const elf::ElfImage>>
        images_;  ///< By (device, inode).
};

}  // namespace pystack::target
