#include "target/core_header.h"

#include <signal.h>

#include <algorithm>
#include <array>
#include <cstdio>

namespace pystack::target {

namespace {

/// signal(7), the numbers of x86-64 and aarch64.
constexpr std::array<std::string_view, 32> kSignalNames{
    "",          "SIGHUP",  "SIGINT",    "SIGQUIT", "SIGILL",   "SIGTRAP", "SIGABRT", "SIGBUS",
    "SIGFPE",    "SIGKILL", "SIGUSR1",   "SIGSEGV", "SIGUSR2",  "SIGPIPE", "SIGALRM", "SIGTERM",
    "SIGSTKFLT", "SIGCHLD", "SIGCONT",   "SIGSTOP", "SIGTSTP",  "SIGTTIN", "SIGTTOU", "SIGURG",
    "SIGXCPU",   "SIGXFSZ", "SIGVTALRM", "SIGPROF", "SIGWINCH", "SIGIO",   "SIGPWR",  "SIGSYS"};
/// The kernel's SIGRTMIN and SIGRTMAX; glibc keeps the first two and counts from 34.
constexpr std::int32_t kFirstRealTime = 34;
constexpr std::int32_t kLastRealTime = 64;

struct CodeRow {
    std::int32_t signal;  ///< 0 for codes that every signal can have.
    std::int32_t code;
    SignalCode meaning;
};

/// sigaction(2) and the kernel's include/uapi/asm-generic/siginfo.h. Numbers, because the headers
/// of older C libraries lack some of the names.
constexpr CodeRow kCodes[] = {
    {0, 0, {"SI_USER", "sent by kill()"}},
    {0, -1, {"SI_QUEUE", "sent by sigqueue()"}},
    {0, -2, {"SI_TIMER", "a POSIX timer ran out"}},
    {0, -3, {"SI_MESGQ", "a message queue changed state"}},
    {0, -4, {"SI_ASYNCIO", "asynchronous I/O completed"}},
    {0, -5, {"SI_SIGIO", "queued SIGIO"}},
    {0, -6, {"SI_TKILL", "sent by tgkill()"}},
    {SIGSEGV, 0x80, {"SI_KERNEL", "general protection fault, the address is not known"}},
    {SIGBUS, 0x80, {"SI_KERNEL", "stack or segment fault, the address is not known"}},
    {0, 0x80, {"SI_KERNEL", "sent by the kernel"}},
    {SIGILL, 1, {"ILL_ILLOPC", "illegal opcode"}},
    {SIGILL, 2, {"ILL_ILLOPN", "illegal operand"}},
    {SIGILL, 3, {"ILL_ILLADR", "illegal addressing mode"}},
    {SIGILL, 4, {"ILL_ILLTRP", "illegal trap"}},
    {SIGILL, 5, {"ILL_PRVOPC", "privileged opcode"}},
    {SIGILL, 6, {"ILL_PRVREG", "privileged register"}},
    {SIGILL, 7, {"ILL_COPROC", "coprocessor error"}},
    {SIGILL, 8, {"ILL_BADSTK", "internal stack error"}},
    {SIGFPE, 1, {"FPE_INTDIV", "integer division by zero"}},
    {SIGFPE, 2, {"FPE_INTOVF", "integer overflow"}},
    {SIGFPE, 3, {"FPE_FLTDIV", "floating-point division by zero"}},
    {SIGFPE, 4, {"FPE_FLTOVF", "floating-point overflow"}},
    {SIGFPE, 5, {"FPE_FLTUND", "floating-point underflow"}},
    {SIGFPE, 6, {"FPE_FLTRES", "floating-point inexact result"}},
    {SIGFPE, 7, {"FPE_FLTINV", "floating-point invalid operation"}},
    {SIGFPE, 8, {"FPE_FLTSUB", "subscript out of range"}},
    {SIGFPE, 14, {"FPE_FLTUNK", "undiagnosed floating-point exception"}},
    {SIGSEGV, 1, {"SEGV_MAPERR", "address not mapped"}},
    {SIGSEGV, 2, {"SEGV_ACCERR", "access not allowed by the mapping"}},
    {SIGSEGV, 3, {"SEGV_BNDERR", "address bound check failed"}},
    {SIGSEGV, 4, {"SEGV_PKUERR", "access denied by a memory protection key"}},
    {SIGSEGV, 8, {"SEGV_MTEAERR", "memory tag fault, reported late"}},
    {SIGSEGV, 9, {"SEGV_MTESERR", "memory tag fault"}},
    {SIGSEGV, 10, {"SEGV_CPERR", "control protection fault"}},
    {SIGBUS, 1, {"BUS_ADRALN", "address not aligned"}},
    {SIGBUS,
     2,
     {"BUS_ADRERR",
      "no memory behind the address (a mapped file was truncated, or /dev/shm is full)"}},
    {SIGBUS, 3, {"BUS_OBJERR", "hardware error at the address"}},
    {SIGBUS, 4, {"BUS_MCEERR_AR", "memory error in hardware"}},
    {SIGBUS, 5, {"BUS_MCEERR_AO", "memory error in hardware, not yet used"}},
    {SIGTRAP, 1, {"TRAP_BRKPT", "breakpoint"}},
    {SIGTRAP, 2, {"TRAP_TRACE", "single step"}},
    {SIGTRAP, 3, {"TRAP_BRANCH", "branch trap"}},
    {SIGTRAP, 4, {"TRAP_HWBKPT", "hardware breakpoint or watchpoint"}},
    {SIGTRAP, 6, {"TRAP_PERF", "perf event"}},
    {SIGSYS, 1, {"SYS_SECCOMP", "system call refused by a seccomp filter"}},
    {SIGSYS, 2, {"SYS_USER_DISPATCH", "system call refused by user dispatch"}},
};

bool is_letter(char state) {
    return (state >= 'A' && state <= 'Z') || (state >= 'a' && state <= 'z');
}

std::vector<std::string> split_at_blanks(std::string_view text) {
    std::vector<std::string> words;
    while (true) {
        text.remove_prefix(std::min(text.find_first_not_of(' '), text.size()));
        if (text.empty()) return words;
        const std::size_t size = std::min(text.find(' '), text.size());
        words.emplace_back(text.substr(0, size));
        text.remove_prefix(size);
    }
}

}  // namespace

CoreHeader header_from_notes(const elf::CoreFile& core) {
    const elf::CoreNotes& notes = core.notes();
    CoreHeader header;
    header.written_ns = core.modified_ns();
    // The kernel writes the dying thread first, and its signal into the note of every thread; gdb
    // writes a signal only for the thread that had one, and none for a process that was healthy.
    const auto dead = std::find_if(notes.threads.begin(), notes.threads.end(),
                                   [](const elf::CoreThread& t) { return t.current_signal != 0; });
    if (dead != notes.threads.end()) {
        header.terminating_tid = dead->tid;
        const bool same = dead->signal && dead->signal->number == dead->current_signal;
        header.signal.emplace();
        header.signal->number = dead->current_signal;
        if (same) header.signal = dead->signal;
    }
    if (const auto& process = notes.process) {
        header.pid = process->pid;
        header.ppid = process->ppid;
        header.pgrp = process->pgrp;
        header.sid = process->sid;
        header.uid = process->uid;
        header.gid = process->gid;
        header.nice = process->nice;
        if (is_letter(process->state)) header.state = process->state;
        header.fname = process->fname;
        header.arguments = split_at_blanks(process->psargs);
        header.arguments_cut = true;
    } else if (!notes.threads.empty()) {
        // The main thread's id is the process's, and the others come later unless the counter
        // wrapped around.
        header.pid = std::min_element(notes.threads.begin(), notes.threads.end(),
                                      [](const auto& a, const auto& b) { return a.tid < b.tid; })
                         ->tid;
    }
    return header;
}

std::string signal_name(std::int32_t number) {
    if (number > 0 && static_cast<std::size_t>(number) < kSignalNames.size()) {
        return std::string(kSignalNames[static_cast<std::size_t>(number)]);
    }
    if (number >= kFirstRealTime && number <= kLastRealTime) {
        const std::int32_t distance = number - kFirstRealTime;
        return distance == 0 ? "SIGRTMIN" : "SIGRTMIN+" + std::to_string(distance);
    }
    return "signal " + std::to_string(number);
}

std::optional<SignalCode> signal_code(std::int32_t number, std::int32_t code) {
    for (const CodeRow& row : kCodes) {
        if (row.code == code && (row.signal == number || row.signal == 0)) return row.meaning;
    }
    return std::nullopt;
}

std::string describe_cause(const CoreHeader& header) {
    if (!header.signal) return "generated on demand";
    const elf::CoreSignal& signal = *header.signal;
    std::string text = signal_name(signal.number);
    const bool by_itself = signal.sender_pid && header.pid && *signal.sender_pid == *header.pid;
    if (signal.code) {
        text += ": ";
        if (const auto code = signal_code(signal.number, *signal.code)) {
            text += by_itself ? "raised by the process itself" : code->text;
            text.append(" (").append(code->name).append(")");
        } else {
            text += "code " + std::to_string(*signal.code);
        }
    }
    if (signal.fault_address) {
        std::array<char, 32> place;
        std::snprintf(place.data(), place.size(), " at 0x%llx",
                      static_cast<unsigned long long>(signal.fault_address->value));
        text += place.data();
        if (header.stack_overflow) text += ", the end of the thread's stack: a stack overflow";
    }
    if (signal.sender_pid && !by_itself) {
        // The kernel reports senders that the process's own pid namespace cannot name as 0.
        text += *signal.sender_pid == 0 ? " from outside its pid namespace"
                                        : " from pid " + std::to_string(*signal.sender_pid);
        if (signal.sender_uid) text += ", uid " + std::to_string(*signal.sender_uid);
    }
    if (signal.syscall) text += ", system call " + std::to_string(*signal.syscall);
    return text;
}

}  // namespace pystack::target
