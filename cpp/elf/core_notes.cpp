#include "elf/core_notes.h"

#include <elf.h>
#include <signal.h>
#include <sys/procfs.h>

#include <algorithm>
#include <cstring>
#include <string_view>

#include "base/byte_reader.h"
#include "base/checked.h"

namespace pystack::elf {

namespace {

/// A machine has at most 4 Mi tids (PID_MAX_LIMIT of the kernel), a real process some ten thousand;
/// the caps bound what a hostile file can make us do, also when its note segments overlap.
constexpr std::size_t kMaxThreads = std::size_t{1} << 18;
constexpr std::size_t kMaxNotes = std::size_t{1} << 21;
/// vm.max_map_count is 65,530 by default; big Java and database hosts set a million.
constexpr std::size_t kMaxFileMappings = std::size_t{1} << 21;
constexpr std::size_t kMaxAuxEntries = 1024;
/// The name of a file has no bound in the kernel, only what can be opened has.
constexpr std::size_t kMaxFileName = std::size_t{1} << 20;
/// About what a thread takes in all lists of threads, and a mapping of a file in all of mappings.
constexpr std::uint64_t kThreadBytes = 1024;
constexpr std::uint64_t kFileBytes = 256;
/// So many bytes of notes are kept in memory while they are read.
constexpr std::size_t kNoteWindow = std::size_t{4} << 20;

constexpr std::string_view kDeleted = " (deleted)";

template <std::size_t N>
std::string text(const char (&field)[N]) {
    return std::string(field, ::strnlen(field, N));
}

void parse_prstatus(std::span<const std::byte> desc, CoreNotes& notes, CoreShares& shares) {
    const auto status = value_at<elf_prstatus>(desc, 0);
    if (!status) return;
    if (notes.threads.size() >= kMaxThreads || !shares.threads.charge(kThreadBytes)) {
        ++notes.refused_threads;
        return;
    }
    static_assert(sizeof(status->pr_reg) == sizeof(user_regs_struct));
    CoreThread thread{.tid = status->pr_pid,
                      .ppid = status->pr_ppid,
                      .pgrp = status->pr_pgrp,
                      .sid = status->pr_sid,
                      .current_signal = status->pr_cursig,
                      .signal = {}};
    std::memcpy(&thread.registers, &status->pr_reg, sizeof thread.registers);
    notes.threads.push_back(std::move(thread));
}

void parse_prpsinfo(std::span<const std::byte> desc, CoreNotes& notes) {
    const auto info = value_at<elf_prpsinfo>(desc, 0);
    if (!info || notes.process) return;
    notes.process = CoreProcess{.state = info->pr_sname,
                                .nice = static_cast<signed char>(info->pr_nice),
                                .uid = info->pr_uid,
                                .gid = info->pr_gid,
                                .pid = info->pr_pid,
                                .ppid = info->pr_ppid,
                                .pgrp = info->pr_pgrp,
                                .sid = info->pr_sid,
                                .fname = text(info->pr_fname),
                                .psargs = text(info->pr_psargs)};
}

/// Which members of the union are valid: sigaction(2), and the kernel's siginfo_layout().
void parse_siginfo(std::span<const std::byte> desc, CoreNotes& notes) {
    const auto info = value_at<siginfo_t>(desc, 0);
    if (!info || notes.threads.empty() || notes.refused_threads > 0 ||
        notes.threads.back().signal) {
        return;
    }
    CoreSignal signal{.number = info->si_signo,
                      .code = info->si_code,
                      .fault_address = {},
                      .sender_pid = {},
                      .sender_uid = {},
                      .syscall = {}};
    const std::int32_t code = info->si_code;
    if (code == SI_USER || code == SI_TKILL || code == SI_QUEUE) {
        signal.sender_pid = info->si_pid;
        signal.sender_uid = info->si_uid;
    } else if (code > 0 && code < SI_KERNEL) {
        switch (signal.number) {
            case SIGSEGV:
            case SIGBUS:
            case SIGILL:
            case SIGFPE:
            case SIGTRAP:
                signal.fault_address = RemoteAddr{reinterpret_cast<std::uintptr_t>(info->si_addr)};
                break;
            case SIGSYS:
                signal.syscall = info->si_syscall;
                break;
            default:
                break;
        }
    }
    notes.threads.back().signal = signal;
}

void parse_auxv(std::span<const std::byte> desc, CoreNotes& notes) {
    if (!notes.auxv.empty()) return;
    for (std::size_t at = 0; notes.auxv.size() < kMaxAuxEntries; at += sizeof(Elf64_auxv_t)) {
        const auto entry = value_at<Elf64_auxv_t>(desc, at);
        if (!entry || entry->a_type == AT_NULL) return;
        notes.auxv.push_back({entry->a_type, entry->a_un.a_val});
    }
}

/// NT_FILE: count, unit of the offsets (4096 from the kernel, 1 from gdb), count triples, count
/// names.
void parse_files(std::span<const std::byte> desc, CoreNotes& notes, CoreShares& shares) {
    struct Header {
        std::uint64_t count;
        std::uint64_t offset_unit;
    };
    struct Entry {
        std::uint64_t begin;
        std::uint64_t end;
        std::uint64_t offset;
    };
    const auto header = value_at<Header>(desc, 0);
    if (!header || notes.files_listed) return;
    notes.files_listed = true;
    const std::size_t room = (desc.size() - sizeof(Header)) / sizeof(Entry);
    if (header->count > room) notes.cut = true;
    const std::size_t listed = std::min<std::uint64_t>(header->count, room);
    const std::size_t count = std::min(listed, kMaxFileMappings);

    const std::span<const std::byte> bytes = desc.subspan(sizeof(Header) + listed * sizeof(Entry));
    std::string_view names(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    std::span<const std::byte> window = bytes;
    SharedPath previous;
    for (std::size_t i = 0; i < count; ++i) {
        if (shares.files.cancelled()) return;
        if (window.size() - names.size() >= kNoteWindow) {
            if (shares.done_with) shares.done_with(window.first(window.size() - names.size()));
            window = bytes.last(names.size());
        }
        const std::size_t size = names.substr(0, kMaxFileName).find('\0');
        if (size == std::string_view::npos) {
            notes.cut = true;
            return;
        }
        std::string_view path = names.substr(0, size);
        names.remove_prefix(size + 1);
        const auto entry = value_at<Entry>(desc, sizeof(Header) + i * sizeof(Entry));
        if (!entry) return;
        const auto offset = checked_multiply(entry->offset, header->offset_unit);
        if (!offset || entry->begin >= entry->end) continue;
        const bool deleted = path.ends_with(kDeleted);
        if (deleted) path.remove_suffix(kDeleted.size());
        path = path.substr(0, SharedPath::kMaxSize);
        const bool is_new = path != previous.str();
        const bool is_long = is_new && path.size() > SharedPath::kLongSize;
        if (is_long ? !shares.long_names.charge(kFileBytes + path.size())
                    : !shares.files.charge(kFileBytes + (is_new ? path.size() : 0))) {
            ++notes.refused_files;
            continue;
        }
        if (is_new) previous = std::string(path);
        notes.files.push_back({.range = {{entry->begin}, {entry->end}},
                               .offset = {*offset},
                               .path = previous,
                               .deleted = deleted});
    }
}

void parse_note(std::uint32_t type, std::span<const std::byte> desc, CoreNotes& notes,
                CoreShares& shares) {
    switch (type) {
        case NT_PRSTATUS:
            return parse_prstatus(desc, notes, shares);
        case NT_PRPSINFO:
            return parse_prpsinfo(desc, notes);
        case NT_SIGINFO:
            return parse_siginfo(desc, notes);
        case NT_AUXV:
            return parse_auxv(desc, notes);
        case NT_FILE:
            return parse_files(desc, notes, shares);
        default:
            return;
    }
}

}  // namespace

std::optional<std::uint64_t> CoreNotes::aux(std::uint64_t key) const {
    const auto entry =
        std::find_if(auxv.begin(), auxv.end(), [&](const AuxEntry& e) { return e.key == key; });
    if (entry == auxv.end()) return std::nullopt;
    return entry->value;
}

void parse_notes(std::span<const std::byte> bytes, CoreNotes& notes, CoreShares& shares) {
    std::span<const std::byte> window = bytes;
    while (bytes.size() >= sizeof(Elf64_Nhdr)) {
        if (shares.threads.cancelled()) return;
        if (window.size() - bytes.size() >= kNoteWindow && shares.done_with) {
            shares.done_with(window.first(window.size() - bytes.size()));
            window = bytes;
        }
        if (++notes.visited > kMaxNotes) {
            notes.cut = true;
            return;
        }
        const auto header = value_at<Elf64_Nhdr>(bytes, 0);
        bytes = bytes.subspan(sizeof(Elf64_Nhdr));
        const std::uint64_t name_size = padded(header->n_namesz);
        if (name_size > bytes.size()) {
            notes.cut = true;
            return;
        }
        constexpr std::string_view kOwner = "CORE";
        const std::string_view owner(reinterpret_cast<const char*>(bytes.data()), header->n_namesz);
        bytes = bytes.subspan(name_size);
        // A note that is cut off is still parsed: the readable part of NT_FILE is worth having.
        const bool whole = header->n_descsz <= bytes.size();
        const std::size_t size = whole ? header->n_descsz : bytes.size();
        if (owner.substr(0, owner.find('\0')) == kOwner) {
            parse_note(header->n_type, bytes.first(size), notes, shares);
        }
        if (!whole) {
            notes.cut = true;
            return;
        }
        bytes = bytes.subspan(std::min<std::uint64_t>(padded(header->n_descsz), bytes.size()));
    }
    // Up to 11 bytes left over are the padding of some writers or the beginning of a note that was
    // cut off.
}

}  // namespace pystack::elf
