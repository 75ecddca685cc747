#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "arch/registers.h"
#include "base/result.h"

namespace pystack::process {

/// The whole of a small file under /proc (at most `max_size` bytes are kept). kSystem with errno in
/// Error::size when it cannot be read.
Result<std::string> read_proc_file(const std::string& path, std::size_t max_size = 1 << 20);

/// The same of a file of one thread: /proc/PID/task/TID/NAME.
Result<std::string> read_task_file(pid_t pid, pid_t tid, const char* name,
                                   std::size_t max_size = 1 << 20);

/// Where a link under /proc leads; nullopt if that cannot be told.
std::optional<std::string> read_link(const std::string& path);

/// Hands a file under /proc to `take` in pieces, until that returns false. Fails as read_proc_file
/// does.
Result<void> read_proc_file_in_pieces(const std::string& path,
                                      const std::function<bool(std::string_view)>& take);

/// The tids in /proc/PID/task, in the kernel's order (main thread first); empty when the process is
/// gone.
std::vector<pid_t> list_tasks(pid_t pid);

/// What /proc/PID/stat (or task/TID/stat) says.
struct ProcStat {
    char state = '?';
    std::uint32_t flags = 0;  ///< PF_* of the kernel's sched.h.
    std::uint64_t start_ticks =
        0;  ///< Since boot: tells a process from a later one with the same pid.
    std::uint64_t stack_begin = 0;  ///< Where the program's stack began; 0 where that is hidden.
    int cpu = -1;                   ///< It ran on last.
    int policy = -1;                ///< SCHED_* of sched.h.
    std::string name;

    /// Its memory is gone; the kernel keeps it until somebody asks for its status.
    bool has_ended() const { return state == 'Z' || state == 'X'; }
};
std::optional<ProcStat> read_stat(pid_t pid, pid_t tid);
/// Of the text of such a file; nullopt when it is not one.
std::optional<ProcStat> parse_stat(std::string_view text);

/// When a process started that has these start_ticks, as time since the epoch. Rounded down to
/// seconds.
std::optional<std::chrono::seconds> start_time(std::uint64_t start_ticks);

/// A thread of the process by whose files it can be read: the main one, or, if that has ended,
/// another. The files of a thread that has ended are empty. nullopt: all have ended.
std::optional<pid_t> living_thread(pid_t pid);

/// How long a thread has been on a CPU, in nanoseconds (schedstat; absent where the kernel does not
/// keep it).
std::optional<std::uint64_t> read_run_time_ns(pid_t pid, pid_t tid);
/// The same, and how long it has waited for one. The kernel adds a wait when it ends.
struct RunTimes {
    std::uint64_t run_ns = 0;
    std::uint64_t wait_ns = 0;
};
std::optional<RunTimes> read_run_times(pid_t pid, pid_t tid);
/// The same, of the text of a schedstat file.
std::optional<std::uint64_t> parse_run_time_ns(std::string_view text);

/// What task/TID/syscall says of a thread that is blocked in a system call; nullopt for one that
/// runs, or is blocked outside of a system call.
std::optional<arch::Syscall> parse_syscall(std::string_view text);

/// Where a thread that is blocked in a system call is, from the same text.
struct BlockedAt {
    RemoteAddr sp;
    RemoteAddr pc;
};
std::optional<BlockedAt> parse_blocked_at(std::string_view text);

/// The value of one line of a status file, without the key and the blanks: `status_field(text,
/// "NSpid")`.
std::optional<std::string_view> status_field(std::string_view status, std::string_view key);

/// The innermost pid of an NSpid line: the id inside the process's own pid namespace; nullopt when
/// that namespace is ours.
std::optional<pid_t> namespace_id(std::string_view status);

/// Whether a process is in our namespace of this kind ("user", "mnt").
bool shares_namespace(pid_t pid, const char* kind);

}  // namespace pystack::process
