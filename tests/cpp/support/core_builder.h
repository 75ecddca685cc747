#pragma once

#include <elf.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/procfs.h>
#include <sys/user.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "support/bytes.h"

namespace pystack::testing {

inline void append_note(Bytes& notes, std::string_view owner, std::uint32_t type,
                        std::span<const std::byte> desc) {
    append(notes, Elf64_Nhdr{.n_namesz = static_cast<std::uint32_t>(owner.size() + 1),
                             .n_descsz = static_cast<std::uint32_t>(desc.size()),
                             .n_type = type});
    append_text(notes, owner);
    notes.push_back({});
    notes.resize((notes.size() + 3) & ~std::size_t{3});
    notes.insert(notes.end(), desc.begin(), desc.end());
    notes.resize((notes.size() + 3) & ~std::size_t{3});
}

inline Elf64_Ehdr elf_header(std::uint16_t type) {
    Elf64_Ehdr header{};
    std::memcpy(header.e_ident, ELFMAG, SELFMAG);
    header.e_ident[EI_CLASS] = ELFCLASS64;
    header.e_ident[EI_DATA] = ELFDATA2LSB;
    header.e_ident[EI_VERSION] = EV_CURRENT;
    header.e_type = type;
    header.e_machine = EM_X86_64;
    header.e_version = EV_CURRENT;
    header.e_phoff = sizeof(Elf64_Ehdr);
    header.e_ehsize = sizeof(Elf64_Ehdr);
    header.e_phentsize = sizeof(Elf64_Phdr);
    header.e_shentsize = sizeof(Elf64_Shdr);
    return header;
}

/// A file without a name, that `path` opens while this object lives.
class MemoryFile {
  public:
    explicit MemoryFile(std::span<const std::byte> bytes)
        : fd_(::memfd_create("test", MFD_CLOEXEC)), path("/proc/self/fd/" + std::to_string(fd_)) {
        if (::write(fd_, bytes.data(), bytes.size()) != static_cast<ssize_t>(bytes.size()))
            path.clear();
    }
    ~MemoryFile() { ::close(fd_); }
    MemoryFile(const MemoryFile&) = delete;
    MemoryFile& operator=(const MemoryFile&) = delete;

  private:
    int fd_;

  public:
    std::string path;
};

/// Writes cores as the kernel does: headers, notes, then the segments' bytes.
class CoreBuilder {
  public:
    Elf64_Ehdr header = elf_header(ET_CORE);

    void add_thread(std::int32_t tid, std::int16_t signal = 0, user_regs_struct registers = {}) {
        elf_prstatus status{};
        status.pr_pid = tid;
        status.pr_cursig = signal;
        status.pr_ppid = 1;
        std::memcpy(&status.pr_reg, &registers, sizeof registers);
        add_note("CORE", NT_PRSTATUS, status);
    }

    void add_process(std::int32_t pid, std::string_view fname, std::string_view psargs) {
        elf_prpsinfo info{};
        info.pr_sname = 'R';
        info.pr_nice = -5;
        info.pr_uid = 1000;
        info.pr_gid = 100;
        info.pr_pid = pid;
        info.pr_ppid = 77;
        info.pr_pgrp = 78;
        info.pr_sid = 79;
        fname.copy(info.pr_fname, sizeof info.pr_fname);
        psargs.copy(info.pr_psargs, sizeof info.pr_psargs);
        add_note("CORE", NT_PRPSINFO, info);
    }

    void add_fault(int signal, int code, std::uint64_t address) {
        siginfo_t info{};
        info.si_signo = signal;
        info.si_code = code;
        info.si_addr = reinterpret_cast<void*>(address);
        add_note("CORE", NT_SIGINFO, info);
    }

    void add_sender(int signal, int code, std::int32_t pid, std::uint32_t uid) {
        siginfo_t info{};
        info.si_signo = signal;
        info.si_code = code;
        info.si_pid = pid;
        info.si_uid = uid;
        add_note("CORE", NT_SIGINFO, info);
    }

    void add_auxv(const std::vector<std::pair<std::uint64_t, std::uint64_t>>& entries) {
        Bytes desc;
        for (const auto& [key, value] : entries) {
            append(desc, key);
            append(desc, value);
        }
        append(desc, std::uint64_t{AT_NULL});
        append(desc, std::uint64_t{0});
        append_note(notes_, "CORE", NT_AUXV, desc);
    }

    struct File {
        std::uint64_t begin;
        std::uint64_t end;
        std::uint64_t offset;  ///< In units.
        std::string path;
    };
    void add_files(const std::vector<File>& files, std::uint64_t unit = 4096) {
        Bytes desc;
        append(desc, std::uint64_t{files.size()});
        append(desc, unit);
        for (const File& file : files) {
            append(desc, file.begin);
            append(desc, file.end);
            append(desc, file.offset);
        }
        for (const File& file : files) {
            append_text(desc, file.path);
            desc.push_back({});
        }
        append_note(notes_, "CORE", NT_FILE, desc);
    }

    template <class T>
    void add_note(std::string_view owner, std::uint32_t type, const T& desc) {
        append_note(notes_, owner, type, std::as_bytes(std::span(&desc, 1)));
    }
    void add_raw_notes(std::span<const std::byte> bytes) {
        notes_.insert(notes_.end(), bytes.begin(), bytes.end());
    }

    /// A mapping of `size` bytes, the first of which are in the core.
    void add_segment(std::uint64_t begin, std::uint64_t size, Bytes bytes, std::uint32_t flags) {
        segments_.push_back({begin, size, std::move(bytes), flags});
    }

    Bytes build() const {
        Elf64_Ehdr first = header;
        const std::size_t count = segments_.size() + 1;
        const std::size_t notes_at = sizeof first + count * sizeof(Elf64_Phdr);
        std::uint64_t at = (notes_at + notes_.size() + 4095) & ~std::uint64_t{4095};
        Bytes entries;
        Bytes data;
        append(entries, Elf64_Phdr{.p_type = PT_NOTE,
                                   .p_flags = 0,
                                   .p_offset = notes_at,
                                   .p_vaddr = 0,
                                   .p_paddr = 0,
                                   .p_filesz = notes_.size(),
                                   .p_memsz = 0,
                                   .p_align = 4});
        for (const Segment& segment : segments_) {
            append(entries, Elf64_Phdr{.p_type = PT_LOAD,
                                       .p_flags = segment.flags,
                                       .p_offset = at + data.size(),
                                       .p_vaddr = segment.begin,
                                       .p_paddr = 0,
                                       .p_filesz = segment.bytes.size(),
                                       .p_memsz = segment.size,
                                       .p_align = 4096});
            data.insert(data.end(), segment.bytes.begin(), segment.bytes.end());
        }
        first.e_phnum = static_cast<std::uint16_t>(count < PN_XNUM ? count : PN_XNUM);
        if (count >= PN_XNUM) first.e_shoff = at + data.size();
        Bytes core;
        append(core, first);
        core.insert(core.end(), entries.begin(), entries.end());
        core.insert(core.end(), notes_.begin(), notes_.end());
        core.resize(at);
        core.insert(core.end(), data.begin(), data.end());
        if (count >= PN_XNUM) {
            Elf64_Shdr section{};
            section.sh_info = static_cast<std::uint32_t>(count);
            append(core, section);
        }
        return core;
    }

  private:
    struct Segment {
        std::uint64_t begin;
        std::uint64_t size;
        Bytes bytes;
        std::uint32_t flags;
    };

    Bytes notes_;
    std::vector<Segment> segments_;
};

inline constexpr std::uint64_t kPage = 4096;

/// A library of three pages (headers and build id, code of 0xc0 bytes, data of 0xda bytes) with two
/// pages of .bss.
inline Bytes make_library(std::string_view build_id) {
    Bytes notes;
    if (!build_id.empty()) {
        append_note(notes, "GNU", NT_GNU_BUILD_ID, std::as_bytes(std::span(build_id)));
    }
    Elf64_Ehdr header = elf_header(ET_DYN);
    header.e_phnum = 4;
    const std::uint64_t notes_at = sizeof header + 4 * sizeof(Elf64_Phdr);
    const auto entry = [](std::uint32_t type, std::uint32_t flags, std::uint64_t at,
                          std::uint64_t file_size, std::uint64_t memory_size) {
        return Elf64_Phdr{.p_type = type,
                          .p_flags = flags,
                          .p_offset = at,
                          .p_vaddr = at,
                          .p_paddr = at,
                          .p_filesz = file_size,
                          .p_memsz = memory_size,
                          .p_align = type == PT_NOTE ? 4 : kPage};
    };
    Bytes file;
    append(file, header);
    append(file, entry(PT_LOAD, PF_R, 0, kPage, kPage));
    append(file, entry(PT_LOAD, PF_R | PF_X, kPage, kPage, kPage));
    append(file, entry(PT_LOAD, PF_R | PF_W, 2 * kPage, kPage, 3 * kPage));
    append(file, entry(PT_NOTE, PF_R, notes_at, notes.size(), notes.size()));
    file.insert(file.end(), notes.begin(), notes.end());
    file.resize(kPage);
    file.insert(file.end(), kPage, std::byte{0xc0});
    file.insert(file.end(), kPage, std::byte{0xda});
    return file;
}

}  // namespace pystack::testing
