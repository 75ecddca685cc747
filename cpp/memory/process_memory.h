#pragma once

#include <sys/types.h>

#include <atomic>

#include "memory/memory_reader.h"

namespace pystack::memory {

/// Asked before each read of a process; says no where its target may not be kept waiting any
/// longer.
class ReadGate {
  public:
    virtual bool is_open() = 0;

  protected:
    ~ReadGate() = default;
};

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

    /// Null: every read is made. What the gate refuses reads as unmapped.
    void set_gate(ReadGate* gate) { gate_ = gate; }

    std::size_t read_up_to(RemoteAddr address, std::span<std::byte> destination) const override;
    void read_many(std::span<ReadRequest> requests) const override;

  private:
    bool is_open() const { return gate_ == nullptr || gate_->is_open(); }
    bool falls_back(int error) const;
    bool open_mem_file() const;
    std::size_t read_mem_file(RemoteAddr address, std::span<std::byte> destination) const;

    pid_t pid_;
    ReadGate* gate_ = nullptr;
    mutable int mem_fd_ = -1;  // Opened at the first use.
    mutable std::atomic<bool> use_mem_file_ = false;
};

}  // namespace pystack::memory
