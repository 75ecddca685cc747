// Opens the input as a core and asks everything of it.

#include <cstdint>
#include <span>

#include "driver.h"
#include "support/core_builder.h"
#include "target/core_target.h"

namespace {

using namespace pystack;
using testing::Bytes;

void ask_everything(const target::CoreTarget& core) {
    std::size_t sum = target::describe_cause(core.header()).size();
    Bytes buffer(8192);
    const auto mappings = *core.mappings();
    // The first and the last of them: hostile cores have any number.
    for (std::size_t i = 0; i < mappings.size(); i += i < 100 ? 1 : 1 + mappings.size() / 100) {
        sum += core.memory().read_up_to(mappings[i].range.begin, buffer);
        sum += core.memory().read_up_to(mappings[i].range.end - 16, buffer);
        sum += mappings[i].path.size();
    }
    auto modules = *core.modules();
    for (std::size_t i = 0; i < modules.size() && i < 100; ++i) {
        if (const auto opened = core.open_module(modules[i]); !opened) {
            sum += opened.error().message().size();
        }
    }
    const auto threads = *core.threads();
    for (std::size_t i = 0; i < threads.size() && i < 100; ++i) {
        if (const auto registers = core.registers(threads[i].tid)) {
            sum += core.memory().read_up_to(registers->sp(), buffer);
        }
        sum += core.blocked_syscall(threads[i].tid).has_value();
    }
    sum += core.command().has_value() + core.executable().has_value() + core.reports().size();
    fuzz::use(sum);
}

/// As the kernel writes it for a fault.
Bytes crash() {
    testing::CoreBuilder builder;
    user_regs_struct registers{};
    registers.rsp = 0x7ffd'0000'0100;
    builder.add_thread(12, SIGSEGV, registers);
    builder.add_process(11, "python", "python app.py");
    builder.add_fault(SIGSEGV, SEGV_MAPERR, 0x7ffd'0000'0000);
    builder.add_auxv({{AT_PHDR, 0x400040}, {AT_PHNUM, 4}, {AT_RANDOM, 0x7ffd'0000'0f00}});
    builder.add_files({{0x400000, 0x401000, 0, "/proc/self/exe"},
                       {0x401000, 0x402000, 1, "/proc/self/exe"},
                       {0x500000, 0x501000, 0, "/lib/old.so (deleted)"}});
    builder.add_thread(11, SIGSEGV, registers);
    Bytes first = testing::make_library("build id");
    first.resize(testing::kPage);
    builder.add_segment(0x400000, testing::kPage, first, PF_R);
    builder.add_segment(0x401000, testing::kPage, {}, PF_R | PF_X);
    builder.add_segment(0x7ffd'0000'0000, testing::kPage, Bytes(testing::kPage), PF_R | PF_W);
    return builder.build();
}

/// As gdb writes it for a healthy process: no signal, no siginfo, a page that another one overlaps.
Bytes on_demand() {
    testing::CoreBuilder builder;
    for (std::int32_t tid = 100; tid < 140; ++tid) builder.add_thread(tid, 0);
    builder.add_process(100, "worker", "worker --many");
    builder.add_files({{0x7f00'0000'0000, 0x7f00'0000'2000, 0, "/lib/libpython3.13.so.1.0"}}, 1);
    builder.add_segment(0x7f00'0000'0000, testing::kPage, testing::make_library("x"), PF_R);
    builder.add_segment(0x7f00'0000'0800, testing::kPage, Bytes(testing::kPage), PF_R | PF_W);
    return builder.build();
}

/// Memory and nothing else, most of it not in the file.
Bytes without_notes() {
    testing::CoreBuilder builder;
    for (std::uint64_t i = 1; i < 60; ++i) {
        builder.add_segment(i << 32, std::uint64_t{1} << 31, Bytes(i % 3 == 0 ? 64 : 0),
                            PF_R | PF_W);
    }
    return builder.build();
}

}  // namespace

void pystack::fuzz::run(std::span<const std::byte> input) {
    const testing::MemoryFile file(input);
    // No folders to search: the paths in a core are then at most opened, and compared.
    if (const auto core = target::CoreTarget::open(file.path, {}); core) ask_everything(**core);
}

std::vector<Bytes> pystack::fuzz::seeds() {
    return {crash(), on_demand(), without_notes()};
}
