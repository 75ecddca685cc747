#include "target/core_target.h"

#include <doctest/doctest.h>
#include <elf.h>
#include <signal.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <tuple>
#include <vector>

#include "support/core_builder.h"
#include "target/initial_stack.h"

namespace {

namespace fs = std::filesystem;
using namespace pystack;
using namespace pystack::testing;
using target::CoreTarget;
using target::FileSearch;
using target::ModuleStatus;

constexpr std::uint64_t kBase = 0x7f00'0000'0000;
constexpr std::uint64_t kStack = 0x7ffd'0000'0000;
constexpr std::uint64_t kStackSize = 128 * kPage;

/// A folder for files that cores name.
class Folder {
  public:
    Folder()
        : path_(fs::temp_directory_path() / ("core_target_test." + std::to_string(::getpid()))) {
        fs::remove_all(path_);
        fs::create_directories(path_);
    }
    ~Folder() { fs::remove_all(path_); }

    std::string path(const std::string& name) const { return (path_ / name).string(); }
    std::string add(const std::string& name, const Bytes& bytes) const {
        fs::create_directories((path_ / name).parent_path());
        std::ofstream(path_ / name, std::ios::binary)
            .write(reinterpret_cast<const char*>(bytes.data()),
                   static_cast<std::streamsize>(bytes.size()));
        return path(name);
    }

  private:
    fs::path path_;
};

std::unique_ptr<CoreTarget> open(const Bytes& bytes, FileSearch search = {}) {
    const MemoryFile file(bytes);
    auto core = CoreTarget::open(file.path, std::move(search));
    REQUIRE(core);
    return *std::move(core);
}

/// A process that has make_library("core") mapped at kBase from `path`, as the kernel writes it:
/// the first page, the written page of its data, nothing of the code, one of two pages of .bss.
CoreBuilder process_with(const std::string& path) {
    CoreBuilder builder;
    user_regs_struct registers{};
    registers.rsp = kStack + 4 * kPage;
    builder.add_thread(7, 0, registers);
    builder.add_process(7, "python", "python app.py --port 80");
    builder.add_auxv({{AT_PHDR, kBase + 64}, {AT_RANDOM, kStack + kStackSize - 64}});
    builder.add_files({{kBase, kBase + kPage, 0, path},
                       {kBase + kPage, kBase + 2 * kPage, 1, path},
                       {kBase + 2 * kPage, kBase + 3 * kPage, 2, path}});
    Bytes first = make_library("core");
    first.resize(kPage);
    builder.add_segment(kBase, kPage, first, PF_R);
    builder.add_segment(kBase + kPage, kPage, {}, PF_R | PF_X);
    builder.add_segment(kBase + 2 * kPage, kPage, filled(kPage, 0xee), PF_R | PF_W);
    builder.add_segment(kBase + 3 * kPage, 2 * kPage, {}, PF_R | PF_W);
    builder.add_segment(kStack, kStackSize, filled(kStackSize, 0x11), PF_R | PF_W);
    return builder;
}

Result<Bytes> read(const CoreTarget& core, std::uint64_t address, std::size_t size) {
    return core.memory().read_bytes({address}, size);
}

std::string hex(std::string_view text) {
    constexpr std::string_view kDigits = "0123456789abcdef";
    std::string result;
    for (const char c : text) {
        result += kDigits[static_cast<unsigned char>(c) >> 4];
        result += kDigits[static_cast<unsigned char>(c) & 15];
    }
    return result;
}

}  // namespace

TEST_CASE("pages that the core leaves out come from the file, those it has do not") {
    const Folder folder;
    const std::string path = folder.add("lib.so", make_library("core"));
    const auto core = open(process_with(path).build());
    CHECK(read(*core, kBase + kPage, 8) == filled(8, 0xc0));
    CHECK(read(*core, kBase + 2 * kPage, 8) == filled(8, 0xee));
    CHECK(read(*core, kBase + 3 * kPage, 2 * kPage) == filled(2 * kPage, 0));
    CHECK(read(*core, kBase, kPage));
    CHECK(!read(*core, kBase + 5 * kPage, 1));

    REQUIRE(core->reports().size() == 1);
    const target::ModuleReport& report = core->reports()[0];
    CHECK(report.status == ModuleStatus::kFound);
    CHECK(report.verified);
    CHECK(report.found_path == path);
    CHECK(report.core_build_id == hex("core"));
    CHECK(report.range == RemoteRange{{kBase}, {kBase + 5 * kPage}});
    CHECK(core->executable() == path);
    auto modules = *core->modules();
    REQUIRE(modules.size() == 1);
    CHECK(modules[0].image != nullptr);
    CHECK(modules[0].bias == kBase);
    CHECK(core->open_module(modules[0]));
    CHECK(core->pid() == 7);
    CHECK(!core->damage().any());
}

TEST_CASE("a file with another build id is used for nothing") {
    const Folder folder;
    const std::string path = folder.add("lib.so", make_library("other"));
    const auto core = open(process_with(path).build());
    CHECK(!read(*core, kBase + kPage, 1));
    CHECK(read(*core, kBase + 2 * kPage, 8) == filled(8, 0xee));
    REQUIRE(core->reports().size() == 1);
    CHECK(core->reports()[0].status == ModuleStatus::kMismatched);
    CHECK(core->reports()[0].file_build_id == hex("other"));
    auto modules = *core->modules();
    CHECK(modules[0].image == nullptr);
    const auto opened = core->open_module(modules[0]);
    REQUIRE(!opened);
    CHECK(opened.error().code == ErrorCode::kMissingBinary);
    CHECK(opened.error().detail.find(hex("core")) != std::string::npos);
    CHECK(opened.error().detail.find(hex("other")) != std::string::npos);
}

TEST_CASE("files are looked for in the folders, then in the root, and chosen by build id") {
    const Folder folder;
    folder.add("a/lib.so", make_library("other"));
    const std::string second = folder.add("b/lib.so", make_library("core"));
    const std::string deep = folder.add("root/x/y/lib.so", make_library("core"));
    folder.add("root/lib.so", make_library("third"));
    const std::string same_place = folder.add("copy/gone/lib.so", make_library("core"));
    const Bytes bytes = process_with("/gone/lib.so").build();

    CHECK(open(bytes)->reports()[0].status == ModuleStatus::kMissing);
    const auto by_folder = open(
        bytes, {.executable = {}, .folders = {folder.path("a"), folder.path("b")}, .root = {}});
    CHECK(by_folder->reports()[0].found_path == second);
    const auto by_root =
        open(bytes, {.executable = {}, .folders = {}, .root = folder.path("root")});
    CHECK(by_root->reports()[0].found_path == deep);
    const auto by_copy =
        open(bytes, {.executable = {}, .folders = {}, .root = folder.path("copy")});
    CHECK(fs::equivalent(*by_copy->reports()[0].found_path, same_place));
    const auto by_word = open(bytes, {.executable = second, .folders = {}, .root = {}});
    CHECK(by_word->reports()[0].found_path == second);
    CHECK(read(*by_word, kBase + kPage, 8) == filled(8, 0xc0));
    const auto in_vain = open(bytes, {.executable = {}, .folders = {folder.path("a")}, .root = {}});
    CHECK(in_vain->reports()[0].status == ModuleStatus::kMismatched);
    CHECK(in_vain->reports()[0].found_path == folder.path("a/lib.so"));
}

TEST_CASE("without a build id in the core, headers and segments decide") {
    const Folder folder;
    CoreBuilder builder;
    builder.add_thread(7);
    const std::string path = folder.add("lib.so", make_library("any"));
    builder.add_files(
        {{kBase, kBase + kPage, 0, path}, {kBase + kPage, kBase + 2 * kPage, 1, path}});
    builder.add_segment(kBase, kPage, {}, PF_R);
    builder.add_segment(kBase + kPage, kPage, {}, PF_R | PF_X);
    builder.add_segment(kStack, kPage, filled(kPage, 1), PF_R | PF_W);
    const auto likely = open(builder.build());
    CHECK(likely->reports()[0].status == ModuleStatus::kFound);
    CHECK(!likely->reports()[0].verified);
    CHECK(!likely->reports()[0].core_build_id);
    CHECK(read(*likely, kBase + kPage, 8) == filled(8, 0xc0));

    Bytes bare = make_library("");
    bare.resize(kPage);
    CoreBuilder without;
    without.add_thread(7);
    without.add_files({{kBase, kBase + kPage, 0, path}});
    without.add_segment(kBase, kPage, bare, PF_R);
    CHECK(open(without.build())->reports()[0].status == ModuleStatus::kMismatched);
    folder.add("lib.so", make_library(""));
    CHECK(open(without.build())->reports()[0].status == ModuleStatus::kFound);
}

TEST_CASE("what is cut off the core is not taken from the file where it can have been written to") {
    const Folder folder;
    const std::string path = folder.add("lib.so", make_library("core"));
    Bytes bytes = process_with(path).build();
    // Cuts the stack and half of the data page.
    bytes.resize(bytes.size() - kStackSize - kPage / 2);
    const auto core = open(bytes);
    CHECK(read(*core, kBase + 2 * kPage, kPage / 2));
    CHECK(!read(*core, kBase + 2 * kPage + kPage / 2, 1));
    CHECK(read(*core, kBase + kPage, kPage / 2) == filled(kPage / 2, 0xc0));
    CHECK(core->damage().cut_segments == 2);
    CHECK(core->damage().missing_bytes == kStackSize + kPage / 2);
    CHECK(core->header().arguments == std::vector<std::string>{"python", "app.py", "--port", "80"});
    CHECK(core->header().arguments_cut);
}

TEST_CASE("a core without written pages gives no data from files") {
    const Folder folder;
    const std::string path = folder.add("lib.so", make_library("core"));
    CoreBuilder builder;
    builder.add_thread(7);
    builder.add_files({{kBase, kBase + kPage, 0, path},
                       {kBase + kPage, kBase + 2 * kPage, 1, path},
                       {kBase + 2 * kPage, kBase + 3 * kPage, 2, path}});
    builder.add_segment(kBase, kPage, {}, PF_R);
    builder.add_segment(kBase + kPage, kPage, {}, PF_R | PF_X);
    builder.add_segment(kBase + 2 * kPage, kPage, {}, PF_R | PF_W);
    builder.add_segment(kStack, kStackSize, {}, PF_R | PF_W);
    const auto core = open(builder.build());
    CHECK(!core->has_written_pages());
    CHECK(read(*core, kBase + kPage, 8) == filled(8, 0xc0));
    CHECK(!read(*core, kBase + 2 * kPage, 8));
}

TEST_CASE("mappings have the rights of the segments and the files of the note") {
    const auto core = open(process_with("/gone/lib.so").build());
    const auto mappings = *core->mappings();
    REQUIRE(mappings.size() == 5);
    CHECK(mappings[1].executable);
    CHECK(mappings[1].offset == FileOffset{kPage});
    CHECK(mappings[1].path == "/gone/lib.so");
    CHECK(mappings[3].path.empty());
    CHECK(mappings[4].path == "[stack]");
    CHECK(mappings[4].writable);
}

TEST_CASE("file mappings without a segment, as in cores of gdb, get their rights from the file") {
    const Folder folder;
    const std::string path = folder.add("lib.so", make_library("core"));
    CoreBuilder builder;
    builder.add_thread(7);
    builder.add_files({{kBase, kBase + kPage, 0, path},
                       {kBase + kPage, kBase + 2 * kPage, kPage, path},
                       {kBase + 0x10000, kBase + 0x18000, 0, "/gone/gap.so"},
                       {kBase + 0x18000, kBase + 0x58000, 0x8000, "/gone/gap.so"},
                       {kBase + 0x58000, kBase + 0x59000, 0x8000, "/gone/gap.so"}},
                      1);
    Bytes first = make_library("core");
    first.resize(kPage);
    builder.add_segment(kBase, kPage, first, PF_R);
    builder.add_segment(kStack, kPage, filled(kPage, 1), PF_R | PF_W);
    const auto core = open(builder.build());
    const auto mappings = *core->mappings();
    REQUIRE(mappings.size() == 6);
    CHECK(mappings[1].executable);
    CHECK(mappings[2].readable);
    CHECK(!mappings[3].readable);
    CHECK(mappings[4].readable);
    CHECK(read(*core, kBase + kPage, 8) == filled(8, 0xc0));
    CHECK(core->modules()->size() == 2);
}

TEST_CASE("threads have registers and system calls, and no names") {
    CoreBuilder builder;
    user_regs_struct registers{};
    registers.orig_rax = 202;
    registers.rdi = 0xabc;
    builder.add_thread(9, 0, registers);
    registers.orig_rax = static_cast<unsigned long long>(-1);
    registers.fs_base = 0x77;
    builder.add_thread(8, 0, registers);
    const auto core = open(builder.build());
    const auto threads = *core->threads();
    REQUIRE(threads.size() == 2);
    CHECK(threads[0].tid == 9);
    CHECK(!threads[0].name);
    CHECK(core->blocked_syscall(9)->number == 202);
    CHECK(core->blocked_syscall(9)->argument0 == 0xabc);
    CHECK(!core->blocked_syscall(8));
    CHECK(!core->blocked_syscall(99));
    CHECK(core->registers(8)->thread_pointer() == RemoteAddr{0x77});
    CHECK(core->registers(99).error().code == ErrorCode::kInvalidArgument);
    CHECK(core->pid() == 8);
    CHECK(target::describe_cause(core->header()) == "generated on demand");
}

TEST_CASE("threads whose stack the core does not have are named") {
    CoreBuilder builder;
    for (const std::uint64_t page : {0, 1, 2, 3}) {
        user_regs_struct registers{};
        registers.rsp = kStack + page * 4 * kPage + 16;
        builder.add_thread(static_cast<std::int32_t>(page), 0, registers);
    }
    builder.add_segment(kStack, 2 * kPage, filled(2 * kPage, 1), PF_R | PF_W);
    builder.add_segment(kStack + 4 * kPage, 2 * kPage, filled(2 * kPage, 0), PF_R | PF_W);
    builder.add_segment(kStack + 8 * kPage, 2 * kPage, {}, PF_R | PF_W);
    CHECK(open(builder.build())->threads_without_stack() == std::vector<std::int32_t>{1, 2, 3});
}

TEST_CASE("without a list of files the dynamic linker's list gives them") {
    const Folder folder;
    const std::string path = folder.add("lib.so", make_library("core"));
    constexpr std::uint64_t kProgram = 0x400000;
    constexpr std::uint64_t kData = 0x600000;
    Bytes data;
    const auto here = [&] { return kData + data.size(); };
    // The dynamic section, then what it leads to: r_debug, two entries of the list, their names.
    const std::uint64_t debug = kData + 32;
    for (const std::uint64_t word :
         {std::uint64_t{DT_DEBUG}, debug, std::uint64_t{DT_NULL}, std::uint64_t{0}}) {
        append(data, word);
    }
    append(data, std::uint64_t{1});
    append(data, here() + 8);
    const std::uint64_t names = here() + 2 * 40;
    for (const auto& [bias, name, next] :
         {std::tuple{std::uint64_t{0}, names, here() + 40}, {kBase, names + 1, std::uint64_t{0}}}) {
        for (const std::uint64_t word : {bias, name, std::uint64_t{0}, next, std::uint64_t{0}}) {
            append(data, word);
        }
    }
    data.push_back({});
    append_text(data, path);
    data.resize(kPage);

    Bytes program;
    append(program, elf_header(ET_EXEC));
    append(program, Elf64_Phdr{.p_type = PT_DYNAMIC,
                               .p_flags = PF_R,
                               .p_offset = 0,
                               .p_vaddr = kData,
                               .p_paddr = kData,
                               .p_filesz = 32,
                               .p_memsz = 32,
                               .p_align = 8});
    program.resize(kPage);
    Bytes first = make_library("core");
    first.resize(kPage);

    CoreBuilder builder;
    builder.add_thread(7);
    builder.add_auxv({{AT_PHDR, kProgram + sizeof(Elf64_Ehdr)}, {AT_PHNUM, 1}});
    builder.add_segment(kProgram, kPage, program, PF_R);
    builder.add_segment(kData, kPage, data, PF_R | PF_W);
    builder.add_segment(kBase, kPage, first, PF_R);
    builder.add_segment(kBase + kPage, kPage, {}, PF_R | PF_X);
    const auto core = open(builder.build());
    REQUIRE(core->reports().size() == 1);
    CHECK(core->reports()[0].found_path == path);
    CHECK(core->reports()[0].verified);
    CHECK(read(*core, kBase + kPage, 8) == filled(8, 0xc0));
}

namespace {

/// The top of a stack as the kernel sets it up, with argv and environment pointers that can be
/// changed.
struct StackTop {
    Bytes bytes = Bytes(kStackSize);
    std::uint64_t random = kStack + kStackSize - 1024;
    std::vector<std::pair<std::uint64_t, std::uint64_t>> auxv{
        {AT_PAGESZ, 4096}, {AT_RANDOM, random}, {AT_SECURE, 0}};

    StackTop(const std::vector<std::string>& arguments, const std::vector<std::string>& environment,
             std::uint64_t extra_nulls = 0) {
        std::uint64_t at = random + 32;
        const auto put = [&](const std::string& text) {
            text.copy(reinterpret_cast<char*>(&bytes[at - kStack]), text.size());
            at += text.size() + 1;
            return at - text.size() - 1;
        };
        std::vector<std::uint64_t> words{arguments.size()};
        for (const auto& text : arguments) words.push_back(put(text));
        words.push_back(0);
        for (const auto& text : environment) words.push_back(put(text));
        words.insert(words.end(), 1 + extra_nulls, 0);
        for (const auto& [key, value] : auxv) words.insert(words.end(), {key, value});
        words.insert(words.end(), {AT_NULL, 0});
        const std::uint64_t begin = (random - 64 - words.size() * 8) & ~std::uint64_t{15};
        std::memcpy(&bytes[begin - kStack], words.data(), words.size() * 8);
    }

    std::vector<std::string> arguments() const {
        CoreBuilder builder;
        builder.add_thread(7);
        builder.add_process(7, "note", "from the note");
        builder.add_auxv(auxv);
        builder.add_segment(kStack, kStackSize, bytes, PF_R | PF_W);
        return open(builder.build())->command().value_or(std::vector<std::string>{});
    }
};

using Words = std::vector<std::string>;

}  // namespace

TEST_CASE("the arguments come from the stack") {
    CHECK(StackTop({"python", "-c", "", "two words"}, {"HOME=/", "A=b"}).arguments() ==
          Words{"python", "-c", "", "two words"});
    CHECK(StackTop({"alone"}, {}).arguments() == Words{"alone"});
    CHECK(StackTop({"a", "b"}, {"X=1"}, 3).arguments() == Words{"a", "b"});
}

TEST_CASE("a process that has overwritten its arguments gives the text it has put there") {
    StackTop stack({"gunicorn", "--config", "x"}, {"HOME=/"});
    const std::string title = "gunicorn: master [app]";
    std::memcpy(&stack.bytes[stack.random + 32 - kStack], title.c_str(), title.size() + 1);
    CHECK(stack.arguments() == Words{title});
}

TEST_CASE("arguments that make no sense give way to those of the note") {
    StackTop stack({"python"}, {"HOME=/"});
    stack.auxv[1].second -= 8;
    CHECK(stack.arguments() == Words{"from", "the", "note"});
    StackTop empty({}, {});
    CHECK(empty.arguments() == Words{"from", "the", "note"});
}

TEST_CASE("the cause of death in words") {
    const auto cause = [](std::int16_t signal, auto add) {
        CoreBuilder builder;
        builder.add_thread(12, signal);
        builder.add_process(11, "python", "python");
        add(builder);
        const auto core = open(builder.build());
        CHECK(core->header().terminating_tid == 12);
        return target::describe_cause(core->header());
    };
    const auto sent = [](int signal, int code, int pid) {
        return [=](CoreBuilder& builder) { builder.add_sender(signal, code, pid, 5); };
    };
    const auto faulted = [](int signal, int code) {
        return [=](CoreBuilder& builder) { builder.add_fault(signal, code, 0xdead0); };
    };
    CHECK(cause(SIGSEGV, faulted(SIGSEGV, SEGV_MAPERR)) ==
          "SIGSEGV: address not mapped (SEGV_MAPERR) at 0xdead0");
    CHECK(cause(SIGBUS, faulted(SIGBUS, BUS_ADRALN)) ==
          "SIGBUS: address not aligned (BUS_ADRALN) at 0xdead0");
    CHECK(cause(SIGSEGV, faulted(SIGSEGV, SI_KERNEL)) ==
          "SIGSEGV: general protection fault, the address is not known (SI_KERNEL)");
    CHECK(cause(SIGFPE, faulted(SIGFPE, FPE_INTDIV)) ==
          "SIGFPE: integer division by zero (FPE_INTDIV) at 0xdead0");
    CHECK(cause(SIGABRT, sent(SIGABRT, SI_TKILL, 11)) ==
          "SIGABRT: raised by the process itself (SI_TKILL)");
    CHECK(cause(SIGTERM, sent(SIGTERM, SI_USER, 99)) ==
          "SIGTERM: sent by kill() (SI_USER) from pid 99, uid 5");
    CHECK(cause(SIGQUIT, sent(SIGQUIT, SI_USER, 0)) ==
          "SIGQUIT: sent by kill() (SI_USER) from outside its pid namespace, uid 5");
    CHECK(cause(40, sent(40, SI_QUEUE, 99)) ==
          "SIGRTMIN+6: sent by sigqueue() (SI_QUEUE) from pid 99, uid 5");
    CHECK(cause(SIGILL, faulted(SIGILL, 77)) == "SIGILL: code 77 at 0xdead0");
    CHECK(cause(SIGXCPU, [](CoreBuilder&) {}) == "SIGXCPU");
    CHECK(cause(99, [](CoreBuilder&) {}) == "signal 99");
}

TEST_CASE("a fault at the end of the stack is a stack overflow, others are not") {
    const auto overflows = [](std::uint64_t sp, std::uint64_t fault) {
        CoreBuilder builder;
        user_regs_struct registers{};
        registers.rsp = sp;
        builder.add_thread(7, SIGSEGV, registers);
        builder.add_fault(SIGSEGV, SEGV_MAPERR, fault);
        builder.add_segment(kStack - kPage, kPage, {}, 0);
        builder.add_segment(kStack, kStackSize, filled(kStackSize, 0), PF_R | PF_W);
        return open(builder.build())->header().stack_overflow;
    };
    CHECK(overflows(kStack + 16, kStack - 8));
    CHECK(overflows(kStack - 512, kStack - 8));
    CHECK(overflows(kStack + 16, kStack - 8 * kPage));
    CHECK(!overflows(kStack + 16, 0));
    CHECK(!overflows(kStack + 16, kStack + kStackSize + 8));
    CHECK(!overflows(kStack + 64 * kPage, kStack + 63 * kPage));
    // A guard inside the stack's own mapping.
    CHECK(overflows(kStack + kPage + 16, kStack + kPage - 8));
}
