#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "elf/module_map.h"
#include "memory/memory_reader.h"
#include "threads/registers.h"

namespace pystack::target {

/// What is known of one OS thread of the target.
struct ThreadInfo {
    std::int32_t tid = 0;  ///< In our pid namespace (live) or the core's own.
    std::optional<std::int32_t>
        namespace_tid;                ///< In the target's pid namespace, where it differs.
    std::optional<std::string> name;  ///< The kernel's, at most 15 bytes.
    std::optional<char> run_state;    ///< One letter as in /proc/PID/stat.
};

/// A process to read, live or dead. Everything above this layer reads a Target and does not know
/// which kind it has: only live_target and core_target differ.
class Target {
  public:
    virtual ~Target() = default;

    virtual std::int32_t pid() const = 0;
    virtual std::optional<std::int32_t> namespace_pid() const = 0;
    virtual const memory::MemoryReader& memory() const = 0;

    /// The mappings now (live: read anew at each call) or at the time of death.
    virtual Result<std::vector<elf::Mapping>> mappings() const = 0;
    /// The modules of those mappings. Their files may not be opened yet: see open_module.
    virtual Result<std::vector<elf::Module>> modules() const = 0;
    /// Fills `image` and `bias` of one of them, or says why it cannot. Opened files are cached.
    virtual Result<void> open_module(elf::Module& module) const = 0;

    virtual Result<std::vector<ThreadInfo>> threads() const = 0;
    /// The registers of a thread: live targets have them only while they are stopped by a
    /// StopGuard.
    virtual Result<threads::Registers> registers(std::int32_t tid) const = 0;
    /// The system call a thread is blocked in, without stopping it; nullopt when it is not or
    /// cannot be told.
    virtual std::optional<threads::Syscall> blocked_syscall(std::int32_t tid) const = 0;

    virtual std::optional<std::string> executable() const = 0;
    virtual std::optional<std::vector<std::string>> command() const = 0;
};

}  // namespace pystack::target
