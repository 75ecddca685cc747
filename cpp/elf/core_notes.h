#pragma once

#include <sys/user.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/address.h"
#include "base/work_limits.h"
#include "elf/shared_path.h"

namespace pystack::elf {

/// What a siginfo_t in a core says. The optional parts are there only where the signal's code gives
/// them a meaning.
struct CoreSignal {
    std::int32_t number = 0;
    std::optional<std::int32_t> code;  ///< si_code; absent when the core has only the number.
    std::optional<RemoteAddr> fault_address;
    std::optional<std::int32_t> sender_pid;
    std::optional<std::uint32_t> sender_uid;
    std::optional<std::int32_t> syscall;  ///< SIGSYS: the number of the refused system call.
};

/// One NT_PRSTATUS note, with the NT_SIGINFO that follows it.
struct CoreThread {
    std::int32_t tid = 0;
    std::int32_t ppid = 0;  ///< 0 in cores of gdb.
    std::int32_t pgrp = 0;
    std::int32_t sid = 0;
    /// The signal that ended it. The kernel writes the same one for every thread of the process.
    std::int32_t current_signal = 0;
    std::optional<CoreSignal> signal;
    user_regs_struct registers{};
};

/// The NT_PRPSINFO note.
struct CoreProcess {
    char state = '?';  ///< One letter as in /proc/PID/stat, of the time when the core was written.
    std::int32_t nice = 0;
    std::uint32_t uid = 0;
    std::uint32_t gid = 0;
    std::int32_t pid = 0;
    std::int32_t ppid = 0;
    std::int32_t pgrp = 0;
    std::int32_t sid = 0;
    std::string fname;   ///< At most 15 bytes.
    std::string psargs;  ///< At most 79 bytes, arguments joined by blanks.
};

/// One entry of the NT_FILE note.
struct CoreFileMapping {
    RemoteRange range;
    FileOffset offset;
    SharedPath path;  ///< Without " (deleted)".
    bool deleted = false;
};

struct AuxEntry {
    std::uint64_t key = 0;
    std::uint64_t value = 0;
};

/// The notes of a core that this tool uses, in the order of the file.
struct CoreNotes {
    std::vector<CoreThread> threads;
    std::optional<CoreProcess> process;
    std::vector<AuxEntry> auxv;  ///< Without the final AT_NULL.
    std::vector<CoreFileMapping> files;
    bool files_listed = false;        ///< There is an NT_FILE note: what it leaves out is no file.
    bool cut = false;                 ///< A note ends behind the end of its segment or of the file.
    std::size_t refused_threads = 0;  ///< Beyond the limits.
    std::size_t refused_files = 0;    ///< Entries of the NT_FILE note beyond the limits.
    std::size_t visited = 0;          ///< Notes seen; parsing stops at a cap.

    std::optional<std::uint64_t> aux(std::uint64_t key) const;
};

/// What of a memory limit the parts of a core may take; each of them leaves room for the rest.
struct CoreShares {
    explicit CoreShares(WorkLimits& limits)
        : threads(limits, 4), segments(limits, 4), files(limits, 8), long_names(limits, 16) {}

    LimitsShare threads;
    LimitsShare segments;
    LimitsShare files;
    LimitsShare long_names;  ///< Of files; more than real programs have.
    /// Called with bytes of a core that will not be looked at soon. May be empty.
    std::function<void(std::span<const std::byte>)> done_with;
};

/// Adds the notes in `bytes` (one PT_NOTE segment, as much of it as there is) to `notes`. Notes
/// that are unknown are skipped, those that make no sense are left out; never fails. Stops
/// when the reading is cancelled.
void parse_notes(std::span<const std::byte> bytes, CoreNotes& notes, CoreShares& shares);

}  // namespace pystack::elf
