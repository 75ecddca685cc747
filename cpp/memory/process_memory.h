#pragma once

#include <sys/types.h>

#include <atomic>

#include "memory/memory_reader.h"

namespace pystack::memory {

/// The memory of a live process: process_vm_readv, or reads of its mem file (opened read-only)
/// where the kernel or a seccomp filter does not allow that call. `pid` is in our own pid
/// namespace.
///
/// A target that has exited reads as unmapped everywhere; `target/live_target` tells the two apart.
class ProcessMemory final : public MemoryReader {
  public:
    explicit ProcessMemory(pid_t pid);
    ~ProcessMemory() override;

    /// kNoSuchProcess or kPermissionDenied when not one byte could be read for that reason.
    Result<void> check_access(RemoteAddr readable) const;

    std::size_t read_up_to(RemoteAddr address, std::span<std::byte> destination) const override;
    void read_many(std::span<ReadRequest> requests) const override;

  private:
    std::size_t read_mem_file(RemoteAddr address, std::span<std::byte> destination) const;

    pid_t pid_;
    mutable int mem_fd_ = -1;  // Opened at the first use.
    mutable std::atomic<bool> use_mem_file_ = false;
};

}  // namespace pystack::memory
