#include "elf/core_file.h"

#include <doctest/doctest.h>
#include <elf.h>
#include <signal.h>

#include <algorithm>
#include <limits>
#include <string>
#include <vector>

#include "memory/segment_memory.h"
#include "support/core_builder.h"

namespace {

using namespace pystack;
using namespace pystack::testing;
using elf::CoreFile;
using memory::SegmentMemory;

constexpr std::uint64_t kStack = 0x7ffd'0000'0000;

Result<std::shared_ptr<const CoreFile>> open_file(const std::string& path) {
    WorkLimits limits;
    return CoreFile::open(path, limits);
}

std::shared_ptr<const CoreFile> open(const Bytes& bytes) {
    const MemoryFile file(bytes);
    const auto core = open_file(file.path);
    REQUIRE(core);
    return *core;
}

Error open_error(const Bytes& bytes) {
    const MemoryFile file(bytes);
    const auto core = open_file(file.path);
    REQUIRE(!core);
    return core.error();
}

Bytes text(std::string_view characters) {
    Bytes bytes;
    append_text(bytes, characters);
    return bytes;
}

/// What a kernel writes for a program that has crashed in its second thread.
CoreBuilder crashed() {
    CoreBuilder builder;
    user_regs_struct registers{};
    registers.rip = 0x401000;
    registers.rsp = kStack + 64;
    registers.orig_rax = static_cast<unsigned long long>(-1);
    builder.add_thread(4712, SIGSEGV, registers);
    builder.add_process(4711, "python", "python app.py");
    builder.add_fault(SIGSEGV, SEGV_MAPERR, 0x10);
    builder.add_auxv({{AT_PHDR, 0x400040}, {AT_ENTRY, 0x401000}});
    builder.add_files({{0x400000, 0x401000, 0, "/usr/bin/python"},
                       {0x401000, 0x402000, 1, "/usr/bin/python"},
                       {0x500000, 0x501000, 0, "/lib/old.so (deleted)"}});
    registers.orig_rax = 202;
    registers.rdi = 0x1234;
    builder.add_thread(4711, SIGSEGV, registers);
    builder.add_segment(0x400000, kPage, filled(kPage, 1), PF_R);
    builder.add_segment(0x401000, kPage, {}, PF_R | PF_X);
    builder.add_segment(kStack, 2 * kPage, filled(2 * kPage, 2), PF_R | PF_W);
    return builder;
}

}  // namespace

TEST_CASE("threads, signal, process, vector and files come from the notes") {
    const auto core = open(crashed().build());
    const elf::CoreNotes& notes = core->notes();
    REQUIRE(notes.threads.size() == 2);
    CHECK(notes.threads[0].tid == 4712);
    CHECK(notes.threads[0].registers.rip == 0x401000);
    REQUIRE(notes.threads[0].signal);
    CHECK(notes.threads[0].signal->fault_address == RemoteAddr{0x10});
    CHECK(!notes.threads[0].signal->sender_pid);
    CHECK(notes.threads[1].tid == 4711);
    CHECK(notes.threads[1].registers.rdi == 0x1234);
    CHECK(!notes.threads[1].signal);

    REQUIRE(notes.process);
    CHECK(notes.process->pid == 4711);
    CHECK(notes.process->ppid == 77);
    CHECK(notes.process->nice == -5);
    CHECK(notes.process->uid == 1000);
    CHECK(notes.process->state == 'R');
    CHECK(notes.process->fname == "python");
    CHECK(notes.process->psargs == "python app.py");
    CHECK(notes.aux(AT_ENTRY) == 0x401000);
    CHECK(!notes.aux(AT_RANDOM));

    REQUIRE(notes.files.size() == 3);
    CHECK(notes.files[1].offset == FileOffset{4096});
    CHECK(notes.files[1].path == "/usr/bin/python");
    CHECK(!notes.files[1].deleted);
    CHECK(notes.files[2].path == "/lib/old.so");
    CHECK(notes.files[2].deleted);
    CHECK(!core->damage().any());
    CHECK(core->damage().missing_bytes == 0);
}

TEST_CASE("the core's memory is what the segments have bytes for") {
    const auto core = open(crashed().build());
    const SegmentMemory memory(core->regions());
    CHECK(memory.read_bytes({0x400ff0}, 16) == filled(16, 1));
    CHECK(!memory.read_bytes({0x401000}, 1));
    CHECK(memory.read_bytes({kStack + 100}, 2 * kPage - 100) == filled(2 * kPage - 100, 2));
    CHECK(!memory.read_bytes({kStack + 2 * kPage}, 1));
    const auto segments = core->segments();
    REQUIRE(segments.size() == 3);
    CHECK(segments[1].executable);
    CHECK(segments[1].dumped == 0);
    CHECK(segments[1].undumped_range() == segments[1].range);
}

TEST_CASE("offsets of files are in the note's own unit") {
    CoreBuilder builder;
    builder.add_thread(1);
    builder.add_files({{0x1000, 0x2000, 4096, "/in/bytes"},
                       {0x5000, 0x5000, 0, "/empty"},
                       {0x3000, 0x4000, std::numeric_limits<std::uint64_t>::max(), "/end"}},
                      1);
    builder.add_files({{0x1000, 0x2000, 7, "/the second note"}});
    const auto core = open(builder.build());
    REQUIRE(core->notes().files.size() == 2);
    CHECK(core->notes().files[0].offset == FileOffset{4096});
    CHECK(core->notes().files_listed);

    CoreBuilder overflow;
    overflow.add_thread(1);
    overflow.add_files({{0x1000, 0x2000, std::uint64_t{1} << 60, "/too/far"}});
    CHECK(open(overflow.build())->notes().files.empty());
}

TEST_CASE("names in the process note need no terminator") {
    CoreBuilder builder;
    builder.add_process(1, std::string(16, 'n'), std::string(80, 'a'));
    builder.add_thread(1);
    const auto core = open(builder.build());
    CHECK(core->notes().process->fname == std::string(16, 'n'));
    CHECK(core->notes().process->psargs == std::string(80, 'a'));
}

TEST_CASE("the sender of a signal is read where there is one") {
    CoreBuilder builder;
    builder.add_thread(1, SIGTERM);
    builder.add_sender(SIGTERM, SI_USER, 55, 1001);
    builder.add_thread(2, SIGTERM);
    builder.add_sender(SIGSEGV, SI_KERNEL, 1, 1);
    const auto core = open(builder.build());
    CHECK(core->notes().threads[0].signal->sender_pid == 55);
    CHECK(core->notes().threads[0].signal->sender_uid == 1001);
    CHECK(!core->notes().threads[0].signal->fault_address);
    CHECK(!core->notes().threads[1].signal->fault_address);
    CHECK(!core->notes().threads[1].signal->sender_pid);
}

TEST_CASE("other files are told apart") {
    const auto code_of = [](const Bytes& bytes) { return open_error(bytes).code; };
    CHECK(code_of(text("some text that is no core file, and long enough to be one of a kind")) ==
          ErrorCode::kNotACore);
    CHECK(open_error(text("\x1f\x8b\x08 and so on")).detail.find("gzip") != std::string::npos);
    CHECK(code_of({}) == ErrorCode::kCoreTruncated);
    CHECK(code_of(text("\x7f"
                       "EL")) == ErrorCode::kCoreTruncated);
    CHECK(code_of(make_library("id")) == ErrorCode::kNotACore);

    const auto with = [&](auto change) {
        CoreBuilder builder = crashed();
        change(builder.header);
        return open_error(builder.build());
    };
    CHECK(with([](auto& h) { h.e_type = ET_EXEC; }).code == ErrorCode::kNotACore);
    CHECK(with([](auto& h) { h.e_phentsize = 32; }).code == ErrorCode::kNotACore);
    CHECK(with([](auto& h) { h.e_ident[EI_CLASS] = 9; }).code == ErrorCode::kNotACore);
    const Error narrow = with([](auto& h) { h.e_ident[EI_CLASS] = ELFCLASS32; });
    CHECK(narrow.code == ErrorCode::kUnsupportedTarget);
    CHECK(narrow.message().find("32-bit") != std::string::npos);
    const Error swapped = with([](auto& h) { h.e_ident[EI_DATA] = ELFDATA2MSB; });
    CHECK(swapped.code == ErrorCode::kUnsupportedTarget);
    CHECK(swapped.message().find("big-endian") != std::string::npos);
    const Error foreign = with([](auto& h) { h.e_machine = EM_AARCH64; });
    CHECK(foreign.code == ErrorCode::kUnsupportedTarget);
    CHECK(foreign.message().find("aarch64") != std::string::npos);

    CHECK(open_file("/").error().code == ErrorCode::kNotACore);
    CHECK(open_file("/dev/null").error().code == ErrorCode::kNotACore);
    CHECK(open_file("/nonexistent/core").error().code == ErrorCode::kSystem);
    CHECK(code_of(CoreBuilder().build()) == ErrorCode::kCoreTruncated);
}

TEST_CASE("a core cut at any byte gives what is left of it and counts the rest") {
    const Bytes whole = crashed().build();
    const std::size_t dumped = 3 * kPage;
    std::size_t opened = 0;
    for (std::size_t size = 1; size < whole.size(); size += size < 4000 ? 1 : 61) {
        const Bytes cut(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size));
        const MemoryFile file(cut);
        const auto core = open_file(file.path);
        if (!core) {
            REQUIRE(core.error().code == ErrorCode::kCoreTruncated);
            REQUIRE(size < 1000);
            continue;
        }
        ++opened;
        const elf::CoreDamage& damage = (*core)->damage();
        REQUIRE(damage.any());
        REQUIRE(damage.file_size == size);
        REQUIRE(damage.expected_size == whole.size());
        REQUIRE(damage.missing_bytes == std::min(dumped, whole.size() - size));
        REQUIRE((*core)->notes().threads.size() >= 1);
        std::uint64_t available = 0;
        for (const auto& segment : (*core)->segments()) available += segment.available;
        REQUIRE(available + damage.missing_bytes == dumped);
    }
    CHECK(opened > 300);
    CHECK(open(whole)->damage().expected_size == whole.size());
}

TEST_CASE("cut notes keep what came before the cut") {
    CoreBuilder builder;
    builder.add_thread(1);
    Bytes cut;
    append(cut, Elf64_Nhdr{.n_namesz = 5, .n_descsz = 4000, .n_type = NT_FILE});
    append_text(cut, std::string_view("CORE\0\0\0\0", 8));
    append(cut, std::uint64_t{2});
    append(cut, std::uint64_t{4096});
    for (std::uint64_t begin : {0x1000, 0x2000}) {
        append(cut, begin);
        append(cut, begin + 0x1000);
        append(cut, std::uint64_t{0});
    }
    append_text(cut, std::string_view("/first\0/sec", 11));
    builder.add_raw_notes(cut);
    const auto core = open(builder.build());
    REQUIRE(core->notes().files.size() == 1);
    CHECK(core->notes().files[0].path == "/first");
    CHECK(core->damage().notes_cut);
    CHECK(core->damage().any());
}

TEST_CASE("notes with absurd sizes are left out") {
    for (const auto& [name_size, desc_size] :
         {std::pair{0xffffffffu, 8u}, {5u, 0xffffffffu}, {0xfffffffdu, 0xfffffffdu}}) {
        CoreBuilder builder;
        builder.add_thread(1);
        Bytes note;
        append(note, Elf64_Nhdr{.n_namesz = name_size, .n_descsz = desc_size, .n_type = NT_FILE});
        append_text(note, std::string_view("CORE\0\0\0\0 and some more", 22));
        builder.add_raw_notes(note);
        const auto core = open(builder.build());
        CHECK(core->notes().threads.size() == 1);
        CHECK(core->damage().notes_cut);
    }
    CoreBuilder foreign;
    foreign.add_thread(1);
    foreign.add_note("LINUX", NT_PRSTATUS, elf_prstatus{});
    foreign.add_note("CORE", NT_PRSTATUS, int{0});
    CHECK(open(foreign.build())->notes().threads.size() == 1);
}

TEST_CASE("segments with absurd sizes are counted as missing, not read") {
    Bytes bytes = crashed().build();
    constexpr std::size_t kSecondHeader = sizeof(Elf64_Ehdr) + sizeof(Elf64_Phdr);
    Elf64_Phdr entry;
    std::memcpy(&entry, bytes.data() + kSecondHeader, sizeof entry);
    entry.p_filesz = entry.p_memsz = std::uint64_t{1} << 40;
    std::memcpy(bytes.data() + kSecondHeader, &entry, sizeof entry);
    const auto core = open(bytes);
    CHECK(core->damage().cut_segments == 1);
    CHECK(core->damage().missing_bytes > std::uint64_t{1} << 39);

    entry.p_offset = std::numeric_limits<std::uint64_t>::max() - 5;
    entry.p_vaddr = std::numeric_limits<std::uint64_t>::max() - 5;
    std::memcpy(bytes.data() + kSecondHeader, &entry, sizeof entry);
    CHECK(open(bytes)->segments().size() == 2);
}

TEST_CASE("more than 65,534 segments are counted in the section header") {
    CoreBuilder builder;
    builder.add_thread(1);
    constexpr std::uint64_t kCount = 70'000;
    for (std::uint64_t i = 0; i < kCount; ++i) {
        Bytes bytes;
        if (i == kCount - 1) bytes = filled(8, 9);
        builder.add_segment(0x10000 + i * 2 * kPage, kPage, std::move(bytes), PF_R | PF_W);
    }
    Bytes bytes = builder.build();
    const auto check = [&] {
        const auto core = open(bytes);
        CHECK(core->segments().size() == kCount);
        CHECK(core->notes().threads.size() == 1);
        const SegmentMemory memory(core->regions());
        CHECK(memory.read_bytes({0x10000 + (kCount - 1) * 2 * kPage}, 8) == filled(8, 9));
    };
    check();
    // Cut off the section header: the number then follows from where the notes begin.
    bytes.resize(bytes.size() - sizeof(Elf64_Shdr));
    check();
}

TEST_CASE("what the memory limit refuses of a core is left out and counted") {
    CoreBuilder builder;
    std::vector<CoreBuilder::File> files;
    for (std::uint64_t i = 0; i < 100; ++i) {
        const std::uint64_t begin = 0x10000 + i * 0x2000;
        files.push_back(
            {begin, begin + 0x1000, 0, "/" + std::to_string(i) + std::string(4000, 'a')});
    }
    files.push_back({0x900000, 0x901000, 0, "/usr/bin/python"});
    builder.add_thread(1, 0);
    builder.add_files(files);
    for (int i = 0; i < 1000; ++i) builder.add_thread(2 + i, 0);
    const MemoryFile file(builder.build());

    WorkLimits limits(std::uint64_t{1} << 20);
    const auto core = CoreFile::open(file.path, limits);
    REQUIRE(core);
    const elf::CoreNotes& notes = (*core)->notes();
    CHECK(notes.threads.size() + notes.refused_threads == 1001);
    CHECK(notes.refused_threads > 500);
    CHECK(notes.files.size() + notes.refused_files == 101);
    CHECK(notes.refused_files > 50);
    CHECK(notes.files.back().path == "/usr/bin/python");

    WorkLimits enough;
    const auto whole = CoreFile::open(file.path, enough);
    REQUIRE(whole);
    CHECK((*whole)->notes().threads.size() == 1001);
    CHECK((*whole)->notes().files.size() == 101);
    CHECK(enough.max_bytes() - enough.bytes_left() > 100 * 4000);

    enough.cancel();
    CHECK(CoreFile::open(file.path, enough).error().code == ErrorCode::kCancelled);
}

TEST_CASE("a name of a file that is longer than a path can be is cut") {
    CoreBuilder builder;
    builder.add_thread(1, 0);
    builder.add_files(
        {{0x1000, 0x2000, 0, "/" + std::string(80'000, 'd')}, {0x2000, 0x3000, 0, "/a"}});
    const auto core = open(builder.build());
    REQUIRE(core->notes().files.size() == 2);
    CHECK(core->notes().files[0].path.size() == elf::SharedPath::kMaxSize);
    CHECK(core->notes().files[0].path.is_cut());
    CHECK(core->notes().files[1].path == "/a");
}
