// Opens arbitrary bytes as a core and asks everything of it. With libFuzzer: -DPYSTACK_LIBFUZZER
// -fsanitize=fuzzer. Without: a program that runs the files given, then random changes of them, for
// some seconds:
//
//     fuzz_core_file SECONDS [FILE...]

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <random>
#include <string>

#include "../cpp/core_builder.h"
#include "target/core_target.h"

namespace {

using namespace pystack;
using testing::Bytes;

void ask_everything(const target::CoreTarget& core) {
    std::size_t sum = target::describe_cause(core.header()).size();  // Never empty.
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
    // So that no question is optimised away.
    if (sum == 0) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const testing::MemoryFile file(std::as_bytes(std::span(data, size)));
    // No folders to search: the paths in a core are then at most opened, and compared.
    if (const auto core = target::CoreTarget::open(file.path, {}); core) ask_everything(**core);
    return 0;
}

#if !defined(PYSTACK_LIBFUZZER)

namespace {

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

/// Changes that reach past the checks of single values: edges of the integers, at the places of
/// headers.
void mutate(Bytes& bytes, std::mt19937_64& random) {
    const auto below = [&](std::size_t bound) { return bound == 0 ? 0 : random() % bound; };
    if (below(8) == 0) bytes.resize(below(bytes.size() + 1));
    for (std::size_t changes = 1 + below(6); changes > 0 && bytes.size() > 16; --changes) {
        // Most of the structure is at the beginning.
        const std::size_t limit =
            below(4) == 0 ? bytes.size() : std::min<std::size_t>(bytes.size(), 4096);
        const std::size_t at = below(limit - 8);
        static constexpr std::uint64_t kEdges[] = {0,
                                                   1,
                                                   4,
                                                   0x7fff,
                                                   0xffff,
                                                   0x10000,
                                                   0x7fffffff,
                                                   0xffffffff,
                                                   std::uint64_t{1} << 32,
                                                   std::uint64_t{1} << 47,
                                                   ~std::uint64_t{0},
                                                   ~std::uint64_t{0} - 4095,
                                                   std::uint64_t{1} << 63};
        const std::uint64_t edge = kEdges[below(std::size(kEdges))];
        switch (below(4)) {
            case 0:
                bytes[at] = static_cast<std::byte>(random());
                break;
            case 1:
                bytes[at] ^= static_cast<std::byte>(1u << below(8));
                break;
            case 2:
                std::memcpy(&bytes[at], &edge, 4);
                break;
            default:
                std::memcpy(&bytes[at & ~std::size_t{7}], &edge, 8);
                break;
        }
    }
}

}  // namespace

int main(int argc, char** argv) {
    const double seconds = argc > 1 ? std::atof(argv[1]) : 10;
    std::vector<Bytes> corpus{crash(), on_demand(), without_notes(), {}};
    for (int i = 2; i < argc; ++i) {
        std::ifstream stream(argv[i], std::ios::binary);
        const std::string text{std::istreambuf_iterator<char>(stream), {}};
        const auto bytes = std::as_bytes(std::span(text));
        corpus.emplace_back(bytes.begin(), bytes.end());
    }
    const auto run = [](const Bytes& bytes) {
        LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size());
    };
    for (const Bytes& bytes : corpus) run(bytes);

    std::mt19937_64 random(1);
    std::size_t runs = 0;
    double slowest = 0;
    const auto now = [] { return std::chrono::steady_clock::now(); };
    const auto since = [&](auto start) {
        return std::chrono::duration<double>(now() - start).count();
    };
    for (const auto begin = now(); since(begin) < seconds; ++runs) {
        Bytes bytes = corpus[random() % corpus.size()];
        mutate(bytes, random);
        const auto start = now();
        run(bytes);
        slowest = std::max(slowest, since(start));
    }
    std::printf("%zu runs, the slowest %.3f s\n", runs, slowest);
    return slowest < 10 ? 0 : 1;
}

#endif
