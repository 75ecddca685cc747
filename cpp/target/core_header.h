#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "elf/core_file.h"

namespace pystack::target {

/// What a core says of its process as a whole. Absent: the core does not say.
struct CoreHeader {
    /// What ended the process; nullopt when the core was written on demand, from a living process.
    std::optional<elf::CoreSignal> signal;
    /// The thread that received that signal.
    std::optional<std::int32_t> terminating_tid;
    bool stack_overflow = false;  ///< The fault is at the end of that thread's stack.

    std::optional<std::int32_t> pid;
    std::optional<std::int32_t> ppid;
    std::optional<std::int32_t> pgrp;
    std::optional<std::int32_t> sid;
    std::optional<std::uint32_t> uid;
    std::optional<std::uint32_t> gid;
    std::optional<std::int32_t> nice;
    std::optional<char> state;         ///< As in /proc/PID/stat.
    std::optional<std::string> fname;  ///< At most 15 bytes.
    std::int64_t written_ns = 0;  ///< When the core was written: realtime clock, from the file.

    std::optional<std::string>
        executable;  ///< The file that was mapped, not a script that named it.
    std::vector<std::string> arguments;
    /// The arguments are not those on the stack, but the note's first 79 bytes split at blanks.
    bool arguments_cut = false;
};

/// What the notes say; `stack_overflow`, `executable` and the full arguments need memory and are
/// not filled.
CoreHeader header_from_notes(const elf::CoreFile& core);

/// "SIGSEGV", "SIGRTMIN+3", "signal 99".
std::string signal_name(std::int32_t number);

/// The name of an si_code ("SEGV_MAPERR") and what it means ("address not mapped").
struct SignalCode {
    std::string_view name;
    std::string_view text;
};
/// nullopt for a code that is not known for that signal.
std::optional<SignalCode> signal_code(std::int32_t number, std::int32_t code);

/// One sentence without a full stop: "SIGSEGV: address not mapped (SEGV_MAPERR) at 0x10", "SIGTERM:
/// sent by kill() (SI_USER) from pid 12, uid 0", "generated on demand".
std::string describe_cause(const CoreHeader& header);

}  // namespace pystack::target
