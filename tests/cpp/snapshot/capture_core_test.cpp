#include <doctest/doctest.h>
#include <elf.h>
#include <signal.h>
#include <sys/user.h>

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "snapshot/capture.h"
#include "support/core_builder.h"
#include "support/fake_program.h"
#include "support/offset_table.h"
#include "support/snapshot_parts.h"

using namespace pystack;
using namespace pystack::snapshot;
using model::StackEnd;
using pystack::testing::CoreBuilder;
using pystack::testing::FakeProgram;
using pystack::testing::FakeRuntime;
using pystack::testing::FakeTarget;
using pystack::testing::filled;
using pystack::testing::for_each_version;
using pystack::testing::functions_of;
using pystack::testing::kPage;
using pystack::testing::MemoryFile;
using pystack::testing::mentions;
using pystack::testing::OffsetTable;
using Bytes = pystack::testing::Bytes;

namespace {

constexpr std::uint64_t kStack = 0x7ffd'0000'0000;
constexpr std::uint64_t kMain = FakeProgram::kMain;

/// A process that died while it ran a program in fake memory.
class DeadProcess {
  public:
    explicit DeadProcess(FakeRuntime& of) : fake(of), program(of) {
        // The file that the interpreter is in is an ELF file, which is not on this machine.
        Elf64_Ehdr header = testing::elf_header(ET_DYN);
        header.e_phoff = 0;
        fake.memory().put(RemoteAddr{FakeRuntime::kFirstPage}, header);
        if (fake.layout.version.has_offset_table()) {
            const auto minor = std::uint32_t{fake.layout.version.minor};
            const OffsetTable table(fake.layout, 0x030000F0u | minor << 16);
            fake.memory().write(fake.runtime.address, table.bytes());
        }
    }

    void add_system_thread(std::uint64_t pthread, std::int16_t signal = 0,
                           std::uint64_t futex = 0) {
        user_regs_struct registers{};
        registers.rsp = kStack + kPage;
        registers.fs_base = pthread;
        registers.orig_rax = ~0ull;
        if (futex != 0) {
            registers.orig_rax = static_cast<std::uint64_t>(arch::kFutexSyscall);
            registers.rdi = futex;
        }
        builder.add_thread(FakeProgram::tid_of(pthread), signal, registers);
    }

    std::string path() const {
        return "/nowhere/libpython3." + std::to_string(fake.layout.version.minor) + ".so.1.0";
    }

    /// `has_interpreter`: its memory is in the core.
    Bytes build(bool has_interpreter = true) {
        builder.add_process(FakeTarget::kPid, "app", "app --port 80");
        std::vector<CoreBuilder::File> files;
        if (has_interpreter) {
            for (const RemoteRange& pages : fake.pages()) {
                files.push_back({.begin = pages.begin.value,
                                 .end = pages.end.value,
                                 .offset = (pages.begin.value - FakeRuntime::kFirstPage) / kPage,
                                 .path = path()});
            }
            for (const auto& [begin, bytes] : whole_pages())
                builder.add_segment(begin, bytes.size(), bytes, PF_R | PF_W);
        }
        builder.add_files(files);
        builder.add_segment(kStack, 4 * kPage, filled(4 * kPage, 0x11), PF_R | PF_W);
        return builder.build();
    }

    FakeRuntime& fake;
    FakeProgram program;
    CoreBuilder builder;

  private:
    /// What of the fake memory lies side by side, with the bytes between.
    std::map<std::uint64_t, Bytes> whole_pages() const {
        std::map<std::uint64_t, Bytes> pages;
        fake.heap.memory.for_each([&](RemoteAddr address, std::span<const std::byte> bytes) {
            for (std::size_t i = 0; i < bytes.size(); ++i) {
                const std::uint64_t at = address.value + i;
                Bytes& page = pages[at / kPage * kPage];
                page.resize(kPage);
                page[at % kPage] = bytes[i];
            }
        });
        std::map<std::uint64_t, Bytes> runs;
        for (auto& [begin, bytes] : pages) {
            const auto last = runs.empty() ? runs.end() : std::prev(runs.end());
            if (last != runs.end() && last->first + last->second.size() == begin) {
                last->second.insert(last->second.end(), bytes.begin(), bytes.end());
            } else {
                runs.emplace(begin, std::move(bytes));
            }
        }
        return runs;
    }
};

Result<model::Snapshot> capture(const Bytes& core, const CoreOptions& options = {}) {
    const MemoryFile file(core);
    return capture_core(file.path, options);
}

using Names = std::vector<std::string>;

}  // namespace

TEST_CASE("threads of a dead process, by interpreter, the main one first") {
    for_each_version<FakeRuntime>([](FakeRuntime& fake) {
        DeadProcess dead(fake);
        dead.program.add_thread(7, {"older"});
        dead.program.add_thread(kMain, {"main", "work"});
        dead.program.name_threads(dead.program.interpreter, {{kMain, "MainThread"}});
        dead.add_system_thread(kMain, SIGSEGV);
        dead.add_system_thread(7);
        dead.builder.add_fault(SIGSEGV, 1, 0xdead0);
        const auto snapshot = capture(dead.build());
        REQUIRE_MESSAGE(snapshot, snapshot.error().message());
        CHECK(snapshot->pid == FakeTarget::kPid);
        CHECK_FALSE(snapshot->stopped);
        REQUIRE(snapshot->threads.size() == 2);
        const model::Thread& main = snapshot->threads[0];
        CHECK(functions_of(main) == Names{"main", "work"});
        CHECK(main.stack_end == StackEnd::kComplete);
        CHECK(main.is_main == true);
        CHECK(main.tid == FakeTarget::kPid);
        CHECK(main.name == "MainThread");
        CHECK(functions_of(snapshot->threads[1]) == Names{"older"});
        CHECK(snapshot->threads[1].tid == FakeProgram::tid_of(7));
    });
}

TEST_CASE("what killed the process, and which files are not here") {
    for_each_version<FakeRuntime>([](FakeRuntime& fake) {
        DeadProcess dead(fake);
        dead.program.add_thread(kMain, {"main"});
        dead.add_system_thread(kMain, SIGSEGV);
        dead.builder.add_fault(SIGSEGV, 1, 0xdead0);
        const auto snapshot = capture(dead.build());
        REQUIRE_MESSAGE(snapshot, snapshot.error().message());
        REQUIRE(snapshot->core);
        const model::CoreDetails& core = *snapshot->core;
        CHECK(core.signal == SIGSEGV);
        CHECK(core.signal_name == "SIGSEGV");
        CHECK(core.signal_code == "SEGV_MAPERR");
        CHECK(core.fault_address == 0xdead0);
        CHECK(core.cause.contains("SIGSEGV"));
        CHECK(core.terminating_tid == FakeTarget::kPid);
        CHECK(core.uid == 1000);
        CHECK(core.nice == -5);
        CHECK_FALSE(core.truncated);
        CHECK(snapshot->time_ns == core.written_ns);
        REQUIRE(core.modules.size() == 1);
        CHECK(core.modules[0].path == dead.path());
        CHECK(core.modules[0].status == "missing");
        CHECK_FALSE(core.modules[0].found_path);
        REQUIRE(snapshot->problems.size() == 1);
        CHECK(snapshot->problems[0].contains(dead.path()));
        CHECK(snapshot->problems[0].contains("which was not found"));
        // The table has the exact version, a shape has not.
        const bool is_guess = !fake.layout.version.has_offset_table();
        CHECK(snapshot->problems[0].contains("exact version") == is_guess);
        CHECK(snapshot->version.starts_with("3." + std::to_string(fake.layout.version.minor)));
    });
}

TEST_CASE("who held the GIL and who waited for it") {
    for_each_version<FakeRuntime>([](FakeRuntime& fake) {
        DeadProcess dead(fake);
        const RemoteAddr main = dead.program.add_thread(kMain, {"main"});
        dead.program.add_thread(7, {"other"});
        const RemoteAddr gil = fake.make_gil(dead.program.interpreter);
        if (!gil) return;
        fake.put_gil(gil, 1, main);
        dead.add_system_thread(kMain);
        dead.add_system_thread(7, 0, (gil + *fake.layout.gil.cond).value);
        const auto snapshot = capture(dead.build());
        REQUIRE_MESSAGE(snapshot, snapshot.error().message());
        CHECK(snapshot->threads.at(0).gil == model::GilState::kHolds);
        CHECK(snapshot->threads.at(1).gil == model::GilState::kWaits);
    });
}

TEST_CASE("a core whose threads are not the interpreter's is not believed without its file") {
    for_each_version<FakeRuntime>([](FakeRuntime& fake) {
        DeadProcess dead(fake);
        dead.program.add_thread(kMain, {"main"});
        dead.add_system_thread(99);
        const auto snapshot = capture(dead.build());
        REQUIRE_FALSE(snapshot);
        CHECK(snapshot.error().code == ErrorCode::kMissingBinary);
        CHECK(snapshot.error().message().contains(dead.path()));
    });
}

TEST_CASE("depth and memory limits are those of live processes") {
    for_each_version<FakeRuntime>([](FakeRuntime& fake) {
        DeadProcess dead(fake);
        dead.program.add_thread(kMain, Names(300, "recurse"));
        dead.add_system_thread(kMain);
        const Bytes core = dead.build();
        const auto cut = capture(core, {.max_depth = 20});
        REQUIRE_MESSAGE(cut, cut.error().message());
        CHECK(functions_of(cut->threads.at(0)) == Names(20, "recurse"));
        CHECK(cut->threads.at(0).stack_end == StackEnd::kDepthLimit);

        const auto small =
            capture(core, {.limits = std::make_shared<WorkLimits>(std::uint64_t{200} << 10)});
        REQUIRE_MESSAGE(small, small.error().message());
        CHECK(small->threads.at(0).stack_end == StackEnd::kDepthLimit);
        CHECK(small->threads.at(0).frames.size() < 300);
        CHECK(mentions(small->problems, "memory limit"));
    });
}

TEST_CASE("a cancelled reading of a core ends with that") {
    FakeRuntime fake(pystack::testing::layout_of(13));
    DeadProcess dead(fake);
    dead.program.add_thread(kMain, {"main"});
    dead.add_system_thread(kMain);
    const auto limits = std::make_shared<WorkLimits>();
    limits->cancel();
    const auto snapshot = capture(dead.build(), {.limits = limits});
    REQUIRE_FALSE(snapshot);
    CHECK(snapshot.error().code == ErrorCode::kCancelled);
}

TEST_CASE("a core without Python, and a file that is not a core") {
    FakeRuntime fake(pystack::testing::layout_of(13));
    DeadProcess dead(fake);
    dead.add_system_thread(kMain);
    const auto foreign = capture(dead.build(false), {.exhaustive = true});
    REQUIRE_FALSE(foreign);
    CHECK(foreign.error().code == ErrorCode::kNotPython);
    CHECK(foreign.error().message().contains("not from a Python process"));

    const auto text = capture(filled(1000, 'x'));
    REQUIRE_FALSE(text);
    CHECK(text.error().code == ErrorCode::kNotACore);
}

TEST_CASE("a core that was cut off says what is missing") {
    FakeRuntime fake(pystack::testing::layout_of(13));
    DeadProcess dead(fake);
    dead.program.add_thread(kMain, {"main"});
    dead.add_system_thread(kMain);
    Bytes core = dead.build();
    // Of the stack, which is its last segment.
    core.resize(core.size() - kPage);
    const auto cut = capture(core);
    REQUIRE_MESSAGE(cut, cut.error().message());
    CHECK(functions_of(cut->threads.at(0)) == Names{"main"});
    REQUIRE(cut->core);
    CHECK(cut->core->truncated);
    CHECK(cut->core->missing_bytes == kPage);
    CHECK(mentions(cut->problems, "the core is truncated: 4096 bytes in 1 segments are missing"));

    core.resize(4 * kPage);
    const auto lost = capture(core);
    REQUIRE_FALSE(lost);
    CHECK(lost.error().code == ErrorCode::kCoreTruncated);
}

TEST_CASE("native stacks of a core without its files are gaps beside the Python frames") {
    FakeRuntime fake(pystack::testing::layout_of(13));
    DeadProcess dead(fake);
    dead.program.add_thread(kMain, {"main", "work"});
    dead.add_system_thread(kMain);
    const auto snapshot = capture(dead.build(), {.native = merge::NativeOptions{}});
    REQUIRE_MESSAGE(snapshot, snapshot.error().message());
    const model::Thread& thread = snapshot->threads.at(0);
    const auto count = [&thread](model::FrameKind kind) {
        return std::count_if(thread.frames.begin(), thread.frames.end(),
                             [kind](const model::Frame& frame) { return frame.kind == kind; });
    };
    CHECK(count(model::FrameKind::kPython) == 2);
    CHECK(count(model::FrameKind::kGap) >= 1);
}
