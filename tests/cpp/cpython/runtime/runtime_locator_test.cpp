#include "cpython/runtime/runtime_locator.h"

#include <doctest/doctest.h>

#include <chrono>
#include <random>
#include <string>
#include <vector>

#include "support/fake_target.h"

using namespace pystack;
using namespace pystack::cpython;
using pystack::testing::FakeRuntime;
using pystack::testing::FakeTarget;
using pystack::testing::for_each_version;

namespace {

/// The words of _Py_DebugOffsets as functions of the layout that it describes.
struct Word {
    std::uint64_t (*value)(const Layout&);
};
#define SIZE(section)                                                          \
    Word {                                                                     \
        [](const Layout& l) -> std::uint64_t { return l.section.struct_size; } \
    }
#define WORD(section, field)                                                                    \
    Word {                                                                                      \
        [](const Layout& l) -> std::uint64_t { return l.section.field ? *l.section.field : 0; } \
    }
#define FREE_THREADED_WORD(section, field)                                    \
    Word {                                                                    \
        [](const Layout& l) -> std::uint64_t {                                \
            return l.free_threaded && l.section.field ? *l.section.field : 0; \
        }                                                                     \
    }
#define GIL_WORD(field)                                         \
    Word {                                                      \
        [](const Layout& l) -> std::uint64_t {                  \
            return *l.interpreter_state.own_gil + *l.gil.field; \
        }                                                       \
    }
#define UNUSED                                           \
    Word {                                               \
        [](const Layout&) -> std::uint64_t { return 0; } \
    }
#include "cpython/layout/debug_offsets_words.inc"
#undef SIZE
#undef WORD
#undef FREE_THREADED_WORD
#undef GIL_WORD
#undef UNUSED

std::span<const Word> words_of(std::uint8_t minor) {
    if (minor == 13) return kWords313;
    if (minor == 14) return kWords314;
    return kWords315;
}

bool has_table(const Layout& layout) {
    return layout.version >= PythonVersion{.major = 3, .minor = 13, .release_level = 0};
}

void put_header(FakeRuntime& fake, RemoteAddr place, std::uint32_t hex) {
    fake.memory().put_text(place, "xdebugpy");
    fake.memory().put(place + 8, std::uint64_t{hex});
    fake.memory().put(place + 16, std::uint64_t{fake.layout.free_threaded});
}

std::uint32_t final_hex(std::uint8_t minor) {
    return 0x030000F0u | static_cast<std::uint32_t>(minor) << 16;
}

void put_table(FakeRuntime& fake) {
    put_header(fake, fake.runtime.address, final_hex(fake.layout.version.minor));
    RemoteAddr place = fake.runtime.address + 24;
    for (const Word& word : words_of(fake.layout.version.minor)) {
        fake.memory().put(place, word.value(fake.layout));
        place = place + 8;
    }
}

void make_runtime(FakeRuntime& fake) {
    const RemoteAddr interpreter = fake.add_interpreter(0);
    fake.add_thread(interpreter, 1);
    if (has_table(fake.layout)) put_table(fake);
}

ErrorCode error_of(const FakeTarget& target, const LocateOptions& options = {}) {
    const auto runtime = locate_runtime(target, options);
    REQUIRE_FALSE(runtime);
    CHECK_FALSE(runtime.error().message().empty());
    return runtime.error().code;
}

}  // namespace

TEST_CASE("a runtime is found by its shape or its table, without any file") {
    for_each_version<FakeRuntime>([](FakeRuntime& fake) {
        make_runtime(fake);
        const FakeTarget target(fake);
        const auto runtime = locate_runtime(target);
        REQUIRE_MESSAGE(runtime, runtime.error().message());
        CHECK(runtime->interpreters_head == fake.runtime.interpreters_head);
        CHECK(runtime->address == fake.runtime.address);
        CHECK(runtime->version.minor == fake.layout.version.minor);
        CHECK(runtime->layout.free_threaded == fake.layout.free_threaded);
        CHECK(runtime->layout.frame_chain == fake.layout.frame_chain);
    });
}

TEST_CASE("memory of no file is searched when that is asked for") {
    for_each_version<FakeRuntime>([](FakeRuntime& fake) {
        make_runtime(fake);
        const RemoteAddr texts = fake.allocate(4096);
        FakeTarget target(fake);
        for (elf::Mapping& map : target.maps) {
            map.path = {};
            map.inode = 0;
        }
        target.maps.push_back({.range = {texts, texts + 4096}, .readable = true});
        CHECK(error_of(target) == ErrorCode::kNotPython);
        // A shape alone does not tell 3.9 from 3.10.
        if (!has_table(fake.layout))
            CHECK(error_of(target, {.exhaustive = true}) == ErrorCode::kNotPython);
        const std::string version = "3." + std::to_string(fake.layout.version.minor) + ".7";
        fake.memory().put_text(texts + 64, version + '\0');
        const auto runtime = locate_runtime(target, {.exhaustive = true});
        REQUIRE(runtime);
        CHECK(runtime->interpreters_head == fake.runtime.interpreters_head);
        CHECK(runtime->is_version_exact);
        if (!has_table(fake.layout)) CHECK(runtime->version.to_string() == version);
        CHECK(runtime->version.minor == fake.layout.version.minor);
    });
}

TEST_CASE("the youngest interpreter may run nothing") {
    for_each_version<FakeRuntime>([](FakeRuntime& fake) {
        make_runtime(fake);
        if (!has_table(fake.layout)) return;  // It has a thread state all the same.
        const RemoteAddr first =
            fake.memory().read_pointer(fake.runtime.interpreters_head).value_or(RemoteAddr{});
        const RemoteAddr idle = fake.add_interpreter(1);
        fake.memory().put(fake.runtime.interpreters_head, idle);
        fake.memory().put(idle + *fake.layout.interpreter_state.next, first);
        const auto runtime = locate_runtime(FakeTarget(fake));
        REQUIRE_MESSAGE(runtime, runtime.error().message());
        CHECK(runtime->interpreters_head == fake.runtime.interpreters_head);
    });
}

TEST_CASE("a process without Python, and one whose interpreter has not started") {
    for_each_version<FakeRuntime>([](FakeRuntime& fake) {
        FakeTarget target(fake);
        CHECK(error_of(target, {.exhaustive = true}) == ErrorCode::kNotPython);
        if (has_table(fake.layout)) put_table(fake);
        CHECK(error_of(target, {.exhaustive = true}) == ErrorCode::kNotPython);
        for (elf::Mapping& map : target.maps) map.writable = false;
        CHECK(error_of(target, {.exhaustive = true}) == ErrorCode::kNotPython);
    });
}

TEST_CASE("a table that cannot be used says why") {
    FakeRuntime fake(pystack::testing::layout_of(14));
    make_runtime(fake);
    const FakeTarget target(fake);
    put_header(fake, fake.runtime.address, 0x033200F0);  // 3.50
    CHECK(error_of(target) == ErrorCode::kVersionUnsupported);
    put_header(fake, fake.runtime.address, 0x030e00A1);  // 3.14.0a1
    CHECK(locate_runtime(target));                       // Its table is that of the release.
    for (const std::uint64_t wild :
         {std::uint64_t{1} << 20, std::uint64_t{1} << 32, ~std::uint64_t{0}}) {
        put_table(fake);
        fake.memory().put(fake.runtime.address + 24 + 8 * 8, wild);
        CHECK(error_of(target) == ErrorCode::kOffsetsRejected);
    }
}

TEST_CASE("a table among others that are none") {
    FakeRuntime fake(pystack::testing::layout_of(14));
    const RemoteAddr decoys = fake.allocate(4096);
    make_runtime(fake);
    fake.memory().put_text(decoys + 1, "xdebugpy");
    put_header(fake, decoys + 64, final_hex(14));  // All offsets 0.
    put_header(fake, decoys + 256, 0x033200F0);
    const FakeTarget target(fake);
    const auto runtime = locate_runtime(target);
    REQUIRE(runtime);
    CHECK(runtime->address == fake.runtime.address);
}

TEST_CASE("random memory has no interpreter, and the search ends") {
    std::mt19937_64 random(5);
    for_each_version<FakeRuntime>([&](FakeRuntime& fake) {
        constexpr std::size_t kBytes = 1 << 18;
        const RemoteAddr place = fake.allocate(kBytes);
        for (std::size_t at = 0; at < kBytes; at += 8) {
            // Pointers into the memory itself: each is worth a look.
            fake.memory().put(place + at,
                              random() % 2 == 0 ? random() : place.value + random() % kBytes);
        }
        for (std::size_t at = 0; at + 1024 < kBytes; at += 4096)
            put_header(fake, place + at, final_hex(13));
        const FakeTarget target(fake);
        const auto runtime = locate_runtime(target, {.exhaustive = true});
        // A random word may by chance be the head of something that holds together for one step.
        if (!runtime) CHECK(runtime.error().code != ErrorCode::kInvalidArgument);
    });
}

TEST_CASE("a mapping that claims the whole address space ends in time") {
    FakeRuntime fake(pystack::testing::layout_of(12));
    FakeTarget target(fake);
    target.maps.resize(1);
    target.maps.front().range.end = {std::uint64_t{1} << 47};
    const auto begin = std::chrono::steady_clock::now();
    CHECK(error_of(target, {.exhaustive = true}) == ErrorCode::kNotPython);
    CHECK(std::chrono::steady_clock::now() - begin < std::chrono::seconds(20));
}
