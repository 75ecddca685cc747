#include <elf.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "target/live_target.h"
#include "unwind/cfi_table.h"
#include "unwind/fde_index.h"
#include "unwind/native_unwinder.h"
#include "unwind/split_functions.h"
#include "unwind/stack_bytes.h"
#include "unwind/symbolizer.h"

namespace {

int ready_pipe[2];

__attribute__((noinline)) void tell_ready() {
    const char byte = 0;
    [[maybe_unused]] const ssize_t written = ::write(ready_pipe[1], &byte, 1);
}

__attribute__((noinline)) void wait_forever() {
    tell_ready();
    // Volatile, or what follows a call of this would be optimised away.
    static volatile bool stays = true;
    while (stays) ::pause();
}

}  // namespace

/// Keeps a call from being the last thing that a function does.
#define AFTER_CALL asm volatile("" ::: "memory")

#define DEFINE_CHAIN(name, ...)                                                                  \
    extern "C" __attribute__((noinline, __VA_ARGS__)) void chain_##name##_inner(void (*end)()) { \
        end();                                                                                   \
        AFTER_CALL;                                                                              \
    }                                                                                            \
    extern "C" __attribute__((noinline, __VA_ARGS__)) int chain_##name##_middle(void (*end)(),   \
                                                                                int count) {     \
        volatile char room[100];                                                                 \
        room[0] = static_cast<char>(count);                                                      \
        chain_##name##_inner(end);                                                               \
        AFTER_CALL;                                                                              \
        return room[0] + count;                                                                  \
    }                                                                                            \
    extern "C" __attribute__((noinline, __VA_ARGS__)) void chain_##name##_outer(void (*end)()) { \
        volatile int result = chain_##name##_middle(end, 3);                                     \
        static_cast<void>(result);                                                               \
    }

DEFINE_CHAIN(o0, optimize("O0"))
DEFINE_CHAIN(o1, optimize("O1", "omit-frame-pointer"))
DEFINE_CHAIN(o2, optimize("O2", "omit-frame-pointer"))
DEFINE_CHAIN(os, optimize("Os"))
DEFINE_CHAIN(fp, optimize("O3", "no-omit-frame-pointer"))

/// A stack that is aligned to 64 bytes: its CFA is found by an expression.
extern "C" __attribute__((noinline)) void chain_aligned(void (*end)()) {
    alignas(64) volatile char room[256];
    room[0] = 1;
    end();
    room[1] = room[0];
    AFTER_CALL;
}

extern "C" __attribute__((noinline)) int recurse(int depth) {
    if (depth == 0) {
        wait_forever();
        return 0;
    }
    const int result = recurse(depth - 1) + 1;
    AFTER_CALL;
    return result;
}

extern "C" __attribute__((noinline)) void on_signal(int) {
    wait_forever();
    AFTER_CALL;
}

extern "C" __attribute__((noinline)) void raise_signal() {
    ::raise(SIGUSR1);
    AFTER_CALL;
}

extern "C" __attribute__((noinline, cold)) int seldom(int value) {
    asm volatile("" ::: "memory");
    return value + 1;
}

/// Its unlikely part is split off, and comes back.
extern "C" __attribute__((noinline, optimize("O2", "reorder-blocks-and-partition"))) int
split_function(int value) {
    volatile int room[16] = {value};
    if (__builtin_expect(value == 12345, 0)) {
        room[1] = seldom(value);
        room[2] = seldom(value + 1);
    }
    room[3] = room[1] + room[2];
    AFTER_CALL;
    return room[3];
}

namespace pystack::unwind {
namespace {

namespace shapes {

struct Circle {
    __attribute__((always_inline)) static void draw(int radius) {
        volatile int kept = radius;
        wait_forever();
        kept = kept + 1;
    }
};

template <class Shape>
__attribute__((noinline)) void render(std::vector<int> sizes, const char*) {
    Shape::draw(sizes.front());
    AFTER_CALL;
}

}  // namespace shapes

/// A process that runs `program`, stopped and copied once it said that it is ready.
class Child {
  public:
    explicit Child(const std::function<void()>& program) {
        REQUIRE(::pipe(ready_pipe) == 0);
        pid_ = ::fork();
        if (pid_ == 0) {
            ::alarm(60);  // Never outlives the tests for long.
            program();
            ::_exit(0);
        }
        char byte;
        const bool is_ready = ::read(ready_pipe[0], &byte, 1) == 1;
        ::close(ready_pipe[0]);
        ::close(ready_pipe[1]);
        REQUIRE(is_ready);
        auto opened = target::LiveTarget::open(pid_);
        REQUIRE(opened);
        target = std::move(*opened);
        copy();
    }
    ~Child() {
        ::kill(pid_, SIGKILL);
        ::waitpid(pid_, nullptr, 0);
    }
    Child(const Child&) = delete;
    Child& operator=(const Child&) = delete;

    void copy() {
        const auto mappings = *target->mappings();
        auto guard = target->stop();
        REQUIRE(guard);
        const auto copied = guard->registers(pid_);
        REQUIRE(copied);
        registers = *copied;
        const elf::Mapping* stack = elf::find_mapping(mappings, registers.sp());
        REQUIRE(stack != nullptr);
        begin = registers.sp();
        bytes = *target->memory().read_bytes(begin, stack->range.end - begin);
    }

    UnwindResult unwind(NativeUnwinder& unwinder, std::vector<NativeFrame>& frames,
                        const UnwindLimits& limits = {}) {
        return unwinder.unwind(registers, StackBytes(begin, bytes), limits, frames);
    }

    std::unique_ptr<target::LiveTarget> target;
    threads::Registers registers;
    RemoteAddr begin;
    std::vector<std::byte> bytes;

  private:
    pid_t pid_ = -1;
};

std::vector<std::string> names_of(NativeUnwinder& unwinder,
                                  const std::vector<NativeFrame>& frames) {
    Symbolizer symbolizer(unwinder.code_map(), {});
    std::vector<std::string> names;
    for (const NativeFrame& frame : frames) {
        for (const SymbolizedFrame& function : symbolizer.symbolize(frame).frames) {
            names.push_back(function.function);
        }
    }
    return names;
}

/// Whether `wanted` are among the names, in this order.
bool has_in_order(const std::vector<std::string>& names, const std::vector<std::string>& wanted) {
    auto at = names.begin();
    for (const std::string& name : wanted) {
        at = std::find(at, names.end(), name);
        if (at == names.end()) {
            std::string all;
            for (const std::string& one : names) all += one + " ";
            MESSAGE("no " << name << " at its place in: " << all);
            return false;
        }
        ++at;
    }
    return true;
}

void check_frames(const Child& child, const std::vector<NativeFrame>& frames) {
    REQUIRE(!frames.empty());
    CHECK(frames.front().pc == child.registers.pc());
    CHECK(frames.front().sp == child.registers.sp());
    CHECK(frames.front().is_activation);
    for (std::size_t i = 1; i < frames.size(); ++i) CHECK(frames[i - 1].sp < frames[i].sp);
}

TEST_CASE("a known chain of calls, at several optimisation levels") {
    struct Chain {
        const char* name;
        void (*outer)(void (*)());
    };
    for (const Chain& chain :
         {Chain{"o0", chain_o0_outer}, Chain{"o1", chain_o1_outer}, Chain{"o2", chain_o2_outer},
          Chain{"os", chain_os_outer}, Chain{"fp", chain_fp_outer}}) {
        CAPTURE(chain.name);
        Child child([&] { chain.outer(wait_forever); });
        const auto unwinder = NativeUnwinder::create(*child.target);
        REQUIRE(unwinder);
        std::vector<NativeFrame> frames;
        CHECK(child.unwind(**unwinder, frames).end == UnwindEnd::kComplete);
        check_frames(child, frames);
        const std::string prefix = std::string("chain_") + chain.name;
        CHECK(has_in_order(names_of(**unwinder, frames),
                           {prefix + "_inner", prefix + "_middle", prefix + "_outer", "main"}));

        // From the cache it is the same.
        std::vector<NativeFrame> again;
        child.unwind(**unwinder, again);
        REQUIRE(again.size() == frames.size());
        for (std::size_t i = 0; i < frames.size(); ++i) {
            CHECK(again[i].pc == frames[i].pc);
            CHECK(again[i].sp == frames[i].sp);
        }
    }
}

TEST_CASE("a frame whose CFA is an expression") {
    Child child([] { chain_aligned([] { chain_o2_outer(wait_forever); }); });
    const auto unwinder = NativeUnwinder::create(*child.target);
    REQUIRE(unwinder);
    std::vector<NativeFrame> frames;
    CHECK(child.unwind(**unwinder, frames).end == UnwindEnd::kComplete);
    CHECK(has_in_order(names_of(**unwinder, frames),
                       {"chain_o2_inner", "chain_o2_outer", "chain_aligned", "main"}));
}

void install_handler(bool own_stack) {
    static std::array<char, 1 << 16> stack;
    if (own_stack) {
        stack_t alternate{};
        alternate.ss_sp = stack.data();
        alternate.ss_size = stack.size();
        ::sigaltstack(&alternate, nullptr);
    }
    struct sigaction action {};
    action.sa_handler = on_signal;
    action.sa_flags = own_stack ? SA_ONSTACK : 0;
    ::sigaction(SIGUSR1, &action, nullptr);
}

TEST_CASE("through a signal handler") {
    Child child([] {
        install_handler(false);
        chain_o2_outer(raise_signal);
    });
    const auto unwinder = NativeUnwinder::create(*child.target);
    REQUIRE(unwinder);
    std::vector<NativeFrame> frames;
    CHECK(child.unwind(**unwinder, frames).end == UnwindEnd::kComplete);
    check_frames(child, frames);
    CHECK(has_in_order(names_of(**unwinder, frames),
                       {"on_signal", "raise_signal", "chain_o2_inner", "chain_o2_outer", "main"}));
    // The innermost, the one that returns from the handler, and the one that was interrupted.
    CHECK(std::count_if(frames.begin(), frames.end(),
                        [](const auto& frame) { return frame.is_activation; }) == 3);
}

TEST_CASE("a signal handler on a stack of its own") {
    Child child([] {
        install_handler(true);
        chain_o2_outer(raise_signal);
    });
    const auto unwinder = NativeUnwinder::create(*child.target);
    REQUIRE(unwinder);
    std::vector<NativeFrame> frames;
    // Only the handler's stack was copied.
    const UnwindResult cut = child.unwind(**unwinder, frames);
    CHECK(cut.end == UnwindEnd::kCutStack);
    frames.clear();
    const UnwindResult all =
        (*unwinder)->unwind(child.registers, child.target->memory(), {}, frames);
    CHECK(all.end == UnwindEnd::kComplete);
    CHECK(has_in_order(names_of(**unwinder, frames),
                       {"on_signal", "raise_signal", "chain_o2_inner", "main"}));
}

TEST_CASE("deep stacks and limits") {
    constexpr int kDepth = 20'000;
    Child child([] { recurse(kDepth); });
    const auto unwinder = NativeUnwinder::create(*child.target);
    REQUIRE(unwinder);
    std::vector<NativeFrame> frames;
    CHECK(child.unwind(**unwinder, frames, {.max_frames = 100}).end == UnwindEnd::kDepthLimit);
    CHECK(frames.size() == 100);
    frames.clear();
    CHECK(child.unwind(**unwinder, frames, {.max_frames = 100'000}).end == UnwindEnd::kComplete);
    CHECK(frames.size() > kDepth);

    SUBCASE("a cut stack keeps its frames and says where it was cut") {
        child.bytes.resize(4096);
        frames.clear();
        const UnwindResult result = child.unwind(**unwinder, frames);
        CHECK(result.end == UnwindEnd::kCutStack);
        CHECK(frames.size() > 5);
        const RemoteAddr end = child.begin + child.bytes.size();
        CHECK(result.address + 8 > end);
        CHECK(result.address < end + 4096);
        for (const NativeFrame& frame : frames) CHECK(frame.sp <= end + 4096);
    }
}

TEST_CASE("code of a JIT that keeps frame pointers") {
    Child child([] {
        // push %rbp; mov %rsp,%rbp; call *%rdi; pop %rbp; ret
        constexpr std::array<std::uint8_t, 8> kCode = {0x55, 0x48, 0x89, 0xe5,
                                                       0xff, 0xd7, 0x5d, 0xc3};
        void* page = ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
                            MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        std::memcpy(page, kCode.data(), kCode.size());
        static void (*const jit)(void (*)()) = reinterpret_cast<void (*)(void (*)())>(page);
        chain_o2_outer([] {
            jit([] { chain_fp_outer(wait_forever); });
            AFTER_CALL;
        });
    });
    const auto unwinder = NativeUnwinder::create(*child.target);
    REQUIRE(unwinder);
    std::vector<NativeFrame> frames;
    CHECK(child.unwind(**unwinder, frames).end == UnwindEnd::kComplete);
    CHECK(has_in_order(names_of(**unwinder, frames), {"chain_fp_inner", "chain_fp_outer",
                                                      "chain_o2_inner", "chain_o2_outer", "main"}));
    CHECK(std::count_if(frames.begin(), frames.end(),
                        [](const auto& frame) { return frame.module == kNoModule; }) == 1);
}

TEST_CASE("a call through a null pointer") {
    Child child([] { chain_o2_outer(wait_forever); });
    const auto unwinder = NativeUnwinder::create(*child.target);
    REQUIRE(unwinder);
    std::vector<NativeFrame> frames;
    child.unwind(**unwinder, frames);
    const auto inner = std::find_if(frames.begin(), frames.end(), [&](const NativeFrame& frame) {
        return names_of(**unwinder, {frame}).back() == "chain_o2_inner";
    });
    REQUIRE(inner != frames.end());
    // As if chain_o2_inner had called address 0.
    threads::Registers registers = child.registers;
    registers.raw.rip = 0;
    registers.raw.rsp = inner->sp.value - 8;
    std::vector<NativeFrame> found;
    const UnwindResult result =
        (*unwinder)->unwind(registers, StackBytes(child.begin, child.bytes), {}, found);
    CHECK(result.end == UnwindEnd::kComplete);
    REQUIRE(found.size() > 2);
    CHECK(found[1].pc == inner->pc);
    CHECK(found[1].origin == FrameOrigin::kReturnAddress);
}

TEST_CASE("garbage ends") {
    Child child([] { chain_o2_outer(wait_forever); });
    const auto unwinder = NativeUnwinder::create(*child.target);
    REQUIRE(unwinder);
    std::vector<NativeFrame> real;
    child.unwind(**unwinder, real);
    std::mt19937_64 random(1);
    std::vector<std::byte> bytes(4096);
    for (int round = 0; round < 20'000; ++round) {
        threads::Registers registers = child.registers;
        auto* words = reinterpret_cast<std::uint64_t*>(bytes.data());
        for (std::size_t i = 0; i < bytes.size() / 8; ++i) {
            switch (random() % 4) {
                case 0:
                    words[i] = random();
                    break;
                case 1:
                    words[i] = child.begin.value + random() % bytes.size() / 8 * 8;
                    break;
                case 2:
                    words[i] = real[random() % real.size()].pc.value + random() % 3;
                    break;
                default:
                    words[i] = random() % 16;
            }
        }
        registers.raw.rip =
            round % 2 == 0 ? random() : real[random() % real.size()].pc.value + random() % 64;
        registers.raw.rbp = child.begin.value + random() % bytes.size();
        if (round % 3 == 0) registers.raw.rsp = child.begin.value + random() % bytes.size();
        std::vector<NativeFrame> frames;
        (*unwinder)->unwind(registers, StackBytes(child.begin, bytes), {.max_frames = 2000},
                            frames);
        CHECK(!frames.empty());
        CHECK(frames.size() <= 2000);
    }
}

TEST_CASE("names, lines and inlined functions") {
    Child child([] {
        shapes::render<shapes::Circle>({7}, "x");
        AFTER_CALL;
    });
    const auto unwinder = NativeUnwinder::create(*child.target);
    REQUIRE(unwinder);
    std::vector<NativeFrame> frames;
    REQUIRE(child.unwind(**unwinder, frames).end == UnwindEnd::kComplete);
    Symbolizer symbolizer((*unwinder)->code_map(), {});
    const auto render = std::find_if(frames.begin(), frames.end(), [&](const NativeFrame& frame) {
        return symbolizer.symbolize(frame).frames.back().function.ends_with("shapes::render");
    });
    REQUIRE(render != frames.end());
    const SymbolizedAddress& answer = symbolizer.symbolize(*render);
    CHECK(answer.frames.back().signature.contains("std::vector<int"));
    CHECK(answer.frames.back().signature.contains("char const*"));
    CHECK(answer.frames.back().symbol.starts_with("_ZN"));
    CHECK(&symbolizer.symbolize(*render) == &answer);
    const auto start = symbolizer.function_start(render->lookup_address());
    REQUIRE(start);
    CHECK(*start < render->pc);
    CHECK(symbolizer.function_start(*start) == start);
    if (answer.frames.back().origin != NameOrigin::kDwarf) {
        MESSAGE("the tests are built without -g: lines and inlined functions are not checked");
        return;
    }
    REQUIRE(answer.frames.size() == 2);
    CHECK(answer.frames[0].is_inlined);
    CHECK(answer.frames[0].function.ends_with("shapes::Circle::draw"));
    CHECK(answer.frames[0].file.ends_with("unwind_test.cpp"));
    CHECK(answer.frames[0].line > 0);
    CHECK_FALSE(answer.frames[1].is_inlined);
    CHECK(answer.frames[1].line > answer.frames[0].line);
}

TEST_CASE("parts of split functions belong to their function") {
    static_cast<void>(split_function(1));
    const auto image = elf::ElfImage::open("/proc/self/exe");
    REQUIRE(image);
    elf::Module module;
    module.image = *image;
    const auto code = std::make_shared<const CodeModule>(module);
    const ElfSections sections(code->bytes());
    const ElfSection* table = sections.find(".symtab");
    if (table == nullptr) return;
    const auto address_of = [&](std::string_view name) -> std::uint64_t {
        for (std::size_t at = 0; at + sizeof(Elf64_Sym) <= table->bytes.size();
             at += sizeof(Elf64_Sym)) {
            Elf64_Sym symbol;
            std::memcpy(&symbol, table->bytes.data() + at, sizeof symbol);
            if (text_at(sections.all()[table->link].bytes, symbol.st_name) == name)
                return symbol.st_value;
        }
        return 0;
    };
    const FdeIndex functions(code);
    SplitFunctions split(code, functions);
    const auto whole = functions.find(address_of("split_function"));
    REQUIRE(whole);
    CHECK_FALSE(split.main_part(*whole));
    const auto part = functions.find(address_of("split_function.cold"));
    if (!part) {
        MESSAGE("the compiler did not split the function");
        return;
    }
    const auto main_part = split.main_part(*part);
    REQUIRE(main_part);
    CHECK(main_part->begin == whole->begin);
}

TEST_CASE("an address without a name keeps its place") {
    Child child([] { wait_forever(); });
    const auto unwinder = NativeUnwinder::create(*child.target);
    REQUIRE(unwinder);
    Symbolizer symbolizer((*unwinder)->code_map(), {});
    const NativeFrame nowhere{.pc = {0x1234}, .sp = {}, .is_activation = true};
    const SymbolizedAddress& answer = symbolizer.symbolize(nowhere);
    REQUIRE(answer.frames.size() == 1);
    CHECK(answer.frames[0].function == "0x1234");
    CHECK(answer.frames[0].origin == NameOrigin::kNone);
}

TEST_CASE("the vDSO from memory") {
    Child child([] { wait_forever(); });
    CodeMap map(*child.target);
    REQUIRE(map.update());
    const auto mappings = *child.target->mappings();
    const auto vdso =
        std::find_if(mappings.begin(), mappings.end(),
                     [](const elf::Mapping& mapping) { return mapping.path == "[vdso]"; });
    if (vdso == mappings.end()) return;
    const CodeMap::Area* area = map.find(vdso->range.begin + 0x800);
    REQUIRE(area != nullptr);
    const auto module = map.module(area->module);
    REQUIRE(module);
    const SymbolTable symbols(ElfSections(module->bytes()), SHT_DYNSYM);
    CHECK(symbols.size() > 3);
    const FdeIndex functions(module);
    int with_rule = 0;
    CfiTable table(module, {});
    for (std::uint64_t address = 0; address < module->bytes().size(); address += 16) {
        if (functions.find(address) && table.rule(address).kind != UnwindRule::Kind::kNone)
            ++with_rule;
    }
    CHECK(with_rule > 10);
}

}  // namespace
}  // namespace pystack::unwind
