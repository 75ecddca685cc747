#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "arch/registers.h"
#include "base/result.h"
#include "base/work_limits.h"
#include "elf/module_map.h"
#include "files/file_descriptor.h"
#include "memory/memory_reader.h"

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
    Target(const Target&) = delete;
    Target& operator=(const Target&) = delete;

    /// What the reading of this target may spend. Reads of its memory fail when it is cancelled.
    WorkLimits& limits() const { return *limits_; }
    const std::shared_ptr<WorkLimits>& shared_limits() const { return limits_; }

    virtual std::int32_t pid() const = 0;
    virtual std::optional<std::int32_t> namespace_pid() const = 0;
    virtual const memory::MemoryReader& memory() const = 0;

    /// The mappings now (live: read anew at each call) or at the time of death.
    virtual Result<std::vector<elf::Mapping>> mappings() const = 0;
    /// The modules of those mappings. Their files may not be opened yet: see open_module.
    virtual Result<std::vector<elf::Module>> modules() const = 0;
    /// Both, of one moment.
    struct MemoryMap {
        std::vector<elf::Mapping> mappings;
        std::vector<elf::Module> modules;
    };
    virtual Result<MemoryMap> memory_map() const {
        PYSTACK_TRY(mapped, mappings());
        PYSTACK_TRY(grouped, modules());
        return MemoryMap{.mappings = std::move(mapped), .modules = std::move(grouped)};
    }
    /// What was left out of all these, because there is too much of it; one sentence each.
    virtual std::vector<std::string> left_out_parts() const { return {}; }
    /// Fills `image` and `bias` of one of them, or says why it cannot. Opened files are cached.
    virtual Result<void> open_module(elf::Module& module) const = 0;

    virtual Result<std::vector<ThreadInfo>> threads() const = 0;
    /// How many OS threads there are; 0 when that cannot be known.
    virtual std::size_t thread_count() const = 0;
    /// The registers of a thread: live targets have them only while they are stopped by a
    /// StopGuard.
    virtual Result<arch::Registers> registers(std::int32_t tid) const = 0;
    /// The system call a thread is blocked in, without stopping it; nullopt when it is not or
    /// cannot be told.
    virtual std::optional<arch::Syscall> blocked_syscall(std::int32_t tid) const = 0;

    /// The file in which the process names the code that it makes at run time, as Linux perf reads
    /// it; fails if there is none, or it may be that of another process.
    virtual Result<files::FileDescriptor> open_perf_map() const {
        return fail(Error{.code = ErrorCode::kSystem, .what = "no perf map"});
    }

    virtual std::optional<std::string> executable() const = 0;
    virtual std::optional<std::vector<std::string>> command() const = 0;

  protected:
    explicit Target(std::shared_ptr<WorkLimits> limits) : limits_(std::move(limits)) {}

  private:
    std::shared_ptr<WorkLimits> limits_;
};

}  // namespace pystack::target
