#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "arch/registers.h"
#include "cpython/frames/stack_reader.h"
#include "memory/memory_reader.h"
#include "process/open_proc_file.h"

namespace pystack::sampling {

/// Which threads have not run since their stacks were copied, so that they need not be stopped for
/// it again. A thread that is blocked in a system call does not run; one that is found blocked with
/// the same run time as before has not run in between. Being stopped makes it run for a moment in
/// the kernel: so a thread counts once its registers, stack and Python frames were found as they
/// were, while it slept.
class BlockedThreadCache {
  public:
    /// All must outlive it.
    BlockedThreadCache(pid_t pid, const memory::MemoryReader& memory, cpython::StackReader& stacks)
        : pid_(pid), memory_(memory), stacks_(stacks) {}

    /// One thread state that runs on a thread.
    struct State {
        RemoteAddr address;
        std::vector<cpython::RawFrame> frames;  ///< Innermost first.
    };

    /// What a stopped thread looked like; `stack` begins at its stack pointer. After the target was
    /// let go.
    void remember(pid_t tid, const arch::Registers& registers, std::span<const std::byte> stack,
                  std::vector<State> states);

    /// Looks for those that sleep since then, by rising tid.
    std::span<const pid_t> find();
    /// As find() had it last.
    bool is_asleep(pid_t tid) const;

  private:
    struct Thread {
        process::OpenProcFile call{"syscall"};
        process::OpenProcFile run_time{"schedstat"};
        RemoteAddr sp;
        RemoteAddr pc;
        std::size_t stack_size = 0;
        std::size_t stack_hash = 0;
        std::vector<State> states;
        /// When it was found as it was; nullopt: not yet.
        std::optional<std::uint64_t> run_ns;
    };

    /// Its run time, when it is blocked.
    static std::optional<std::uint64_t> blocked_after(Thread& thread);
    bool looks_the_same(Thread& thread);

    const pid_t pid_;
    const memory::MemoryReader& memory_;
    cpython::StackReader& stacks_;
    std::unordered_map<pid_t, std::unique_ptr<Thread>> threads_;
    std::vector<pid_t> asleep_;
    std::vector<std::byte> bytes_;
    std::vector<cpython::RawFrame> frames_;
};

}  // namespace pystack::sampling
