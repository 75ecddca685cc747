#include <doctest/doctest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cpython/layout/debug_offsets.h"
#include "cpython/layout/layout_check.h"
#include "cpython/layout/layout_table.h"
#include "cpython/layout/layout_visit.h"
#include "support/layout_json.h"
#include "support/offset_table.h"

using namespace pystack;
using namespace pystack::cpython;
using testing::OffsetTable;
using testing::values_of;

namespace {

struct Kind {
    int minor;
    bool free_threaded;
    bool debug;
};

std::vector<Kind> all_kinds() {
    std::vector<Kind> kinds;
    for (int minor = 6; minor <= 15; ++minor) {
        for (const bool free_threaded : {false, true}) {
            if (free_threaded && minor < 13) continue;
            for (const bool debug : {false, true}) kinds.push_back({minor, free_threaded, debug});
        }
    }
    return kinds;
}

PythonVersion release(int minor, int micro = 1) {
    return {.major = 3,
            .minor = static_cast<std::uint8_t>(minor),
            .micro = static_cast<std::uint8_t>(micro)};
}

Layout row_of(int minor, bool free_threaded = false, bool debug = false,
              Architecture architecture = Architecture::kX86_64) {
    auto layout = static_layout(release(minor), free_threaded, debug, architecture);
    REQUIRE(layout.has_value());
    return *layout;
}

std::uint32_t final_hex(int minor) {
    return 0x030000F0 | static_cast<std::uint32_t>(minor) << 16;
}

}  // namespace

TEST_CASE("every row passes the check") {
    for (const auto [minor, free_threaded, debug] : all_kinds()) {
        for (const Architecture architecture : {Architecture::kX86_64, Architecture::kAArch64}) {
            CAPTURE(minor);
            CAPTURE(free_threaded);
            CAPTURE(debug);
            const auto layout = static_layout(release(minor), free_threaded, debug, architecture);
            REQUIRE(layout.has_value());
            const auto checked = check_layout(*layout);
            CHECK_MESSAGE(checked.has_value(), (checked ? "" : checked.error().message()));
            CHECK(layout->free_threaded == free_threaded);
            CHECK(layout->debug == debug);
        }
    }
}

TEST_CASE("rows hold offsets known from elsewhere") {
    // Hand-copied from notes on the headers of x86-64 and from live interpreters, not from
    // layouts.inc.
    struct Known {
        const char* field;
        int values[10];  // 3.6 to 3.15; -1 = absent
    };
    constexpr int no = -1;
    const Known known[] = {
        {"runtime_state.interpreters_head", {no, 24, 32, 32, 32, 40, 40, 632, 808, 936}},
        {"runtime_state.finalizing", {no, 8, 16, 16, 16, 24, 24, 608, 784, 912}},
        {"runtime_state.gilstate_tstate_current", {no, 1480, 1368, 568, 568, 576, no, no, no, no}},
        {"runtime_state.gc", {no, 320, 344, no, no, no, no, no, no, no}},
        {"runtime_state.ceval_gil", {no, 1264, 1152, 352, 352, 360, no, no, no, no}},
        {"interpreter_state.next", {0, 0, 0, 0, 0, 0, 0, 7264, 7272, 7264}},
        {"interpreter_state.threads_head", {8, 8, 8, 8, 8, 16, 72, 7344, 7344, 7336}},
        {"interpreter_state.id", {no, 16, 16, 24, 24, 48, 8, 7272, 7280, 7272}},
        {"interpreter_state.imports_modules", {16, 40, 56, 856, 856, 888, 944, 7656, 7688, 7592}},
        {"interpreter_state.sysdict", {32, 56, 72, 872, 872, 904, 352, 7640, 7672, 7576}},
        {"interpreter_state.gc", {no, no, no, 616, 616, 648, 112, 7400, 7408, 7400}},
        {"interpreter_state.ceval_gil", {no, no, no, no, no, no, 384, 16, 16, 16}},
        {"interpreter_state.own_gil", {no, no, no, no, no, no, 1040, 7752, 7784, 7736}},
        {"thread_state.next", {8, 8, 8, 8, 8, 8, 8, 8, 8, 8}},
        {"thread_state.interp", {16, 16, 16, 16, 16, 16, 16, 16, 16, 16}},
        {"thread_state.frame", {24, 24, 24, 24, 24, no, no, no, no, no}},
        {"thread_state.cframe", {no, no, no, no, no, 56, 56, no, no, no}},
        {"thread_state.current_frame", {no, no, no, no, no, no, no, 72, 72, 72}},
        {"thread_state.exc_type", {80, 88, 88, 88, 88, 96, no, no, no, no}},
        {"thread_state.current_exception", {no, no, no, no, no, no, 96, 112, 112, 136}},
        {"thread_state.exc_info", {no, 144, 144, 144, 144, 120, 104, 120, 120, 144}},
        {"thread_state.thread_id", {152, 176, 176, 176, 176, 152, 136, 152, 152, 176}},
        {"thread_state.native_thread_id", {no, no, no, no, no, 160, 144, 160, 160, 184}},
        {"thread_state.id", {no, 272, 256, 256, 256, 240, 224, 224, 224, 248}},
        {"thread_state.datastack_chunk", {no, no, no, no, no, 296, 232, 232, 232, 256}},
        {"thread_state.datastack_top", {no, no, no, no, no, 304, 240, 240, 240, 264}},
        {"thread_state.datastack_limit", {no, no, no, no, no, 312, 248, 248, 248, 272}},
        {"thread_state.status", {no, no, no, no, no, no, 24, 32, 32, 32}},
        {"thread_state.state", {no, no, no, no, no, no, no, 40, 44, 48}},
        {"thread_state.holds_gil", {no, no, no, no, no, no, no, no, 36, 36}},
        {"interpreter_frame.previous", {24, 24, 24, 24, 24, 48, 8, 8, 8, 8}},
        {"interpreter_frame.executable", {32, 32, 32, 32, 32, 32, 0, 0, 0, 0}},
        {"interpreter_frame.instr_ptr", {120, 104, 104, 104, 96, 56, 56, 56, 56, 56}},
        {"interpreter_frame.owner", {no, no, no, no, no, 69, 70, 70, 74, 74}},
        {"interpreter_frame.is_entry", {no, no, no, no, no, 68, no, no, no, no}},
        {"interpreter_frame.localsplus", {376, 360, 360, 360, 352, 72, 72, 72, 80, 80}},
        {"code_object.filename", {96, 96, 104, 104, 104, 112, 112, 112, 112, 112}},
        {"code_object.name", {104, 104, 112, 112, 112, 120, 120, 120, 120, 120}},
        {"code_object.linetable", {112, 112, 120, 120, 120, 136, 136, 136, 136, 136}},
        {"code_object.firstlineno", {36, 36, 40, 40, 40, 72, 68, 68, 68, 68}},
        {"code_object.co_code_adaptive", {no, no, no, no, no, 184, 192, 200, 208, 208}},
        {"code_object.firsttraceable", {no, no, no, no, no, 168, 176, 184, 192, 192}},
        {"code_object.framesize", {no, no, no, no, no, no, 76, 76, 76, 76}},
        {"gc.collecting", {no, 312, 200, 200, 200, 200, 200, 200, 192, 112}},
        {"gil.last_holder", {no, 8, 8, 8, 8, 8, 8, 8, 8, 8}},
        {"gil.locked", {no, 16, 16, 16, 16, 16, 16, 16, 16, 16}},
        {"gil.switch_number", {no, 24, 24, 24, 24, 24, 24, 24, 24, 24}},
        {"cframe.current_frame", {no, no, no, no, no, 8, 0, no, no, no}},
        {"unicode_object.state", {32, 32, 32, 32, 32, 32, 32, 32, 32, 32}},
        {"unicode_object.asciiobject_size", {48, 48, 48, 48, 48, 48, 40, 40, 40, 40}},
        {"unicode_object.compactunicodeobject_size", {72, 72, 72, 72, 72, 72, 56, 56, 56, 56}},
    };
    for (const Known& fact : known) {
        for (int i = 0; i < 10; ++i) {
            const auto values = values_of(row_of(6 + i));
            const auto found = values.find(fact.field);
            CAPTURE(fact.field);
            CAPTURE(i + 6);
            CHECK((found == values.end() ? no : static_cast<int>(found->second)) == fact.values[i]);
        }
    }
}

TEST_CASE("debug and free-threaded builds differ where they are known to") {
    // Py_TRACE_REFS: two more words at the head of every object, below 3.8 only.
    CHECK(*row_of(7, false, true).pyobject.ob_type == *row_of(7).pyobject.ob_type + 16);
    CHECK(*row_of(7, false, true).interpreter_frame.previous == 40);
    CHECK(*row_of(8, false, true).pyobject.ob_type == *row_of(8).pyobject.ob_type);

    const Layout nogil = row_of(14, true);
    CHECK(*nogil.pyobject.ob_type == 24);
    CHECK(*nogil.code_object.linetable == 152);
    CHECK(*nogil.code_object.firstlineno == 84);
    CHECK(*nogil.code_object.co_tlbc == 224);
    CHECK(*nogil.interpreter_frame.tlbc_index == 72);
    CHECK(*nogil.gil.enabled == 0);
    CHECK(nogil.unicode_state.kind_shift == 8);
    CHECK(row_of(13, true).unicode_state.kind_shift == 2);
    CHECK(nogil.managed_dict_word == -1);
    CHECK_FALSE(row_of(14).gil.enabled.has_value());

    // Only what holds a mutex or a condition of the C library moves between architectures.
    const auto x86 = values_of(row_of(11));
    const auto arm = values_of(row_of(11, false, false, Architecture::kAArch64));
    REQUIRE(x86.size() == arm.size());
    for (const auto& [name, value] : x86) {
        CAPTURE(name);
        if (arm.at(name) != value) {
            CHECK((name.starts_with("gil.") || name.starts_with("runtime_state.")));
        }
    }
}

TEST_CASE("versions out of range are refused by name") {
    struct Case {
        PythonVersion version;
        bool free_threaded;
    };
    const Case cases[] = {{{2, 7, 18}, false},        {{3, 5, 1}, false}, {{3, 16, 0}, false},
                          {{4, 13, 0}, false},        {{3, 12, 1}, true}, {{3, 16, 0}, true},
                          {{3, 12, 0, 0xC, 1}, false}};
    for (const auto& [version, free_threaded] : cases) {
        CAPTURE(version.to_string());
        const auto layout = static_layout(version, free_threaded, false);
        REQUIRE_FALSE(layout.has_value());
        CHECK(layout.error().code == ErrorCode::kVersionUnsupported);
        CHECK(layout.error().message().contains(version.to_string()));
        CHECK(layout.error().message().contains("3.6 to 3.15"));
    }
    CHECK(supported_versions_text() == "3.6 to 3.15");
}

TEST_CASE("versions as text and from PY_VERSION_HEX") {
    CHECK(PythonVersion::from_hex(0x030d12f0) == PythonVersion{3, 13, 18, 0xF, 0});
    CHECK(PythonVersion::from_hex(0x030d12f0).to_string() == "3.13.18");
    CHECK(PythonVersion::from_hex(0x030f00b4).to_string() == "3.15.0b4");
    CHECK(PythonVersion::from_hex(0x030f00c1).to_string() == "3.15.0rc1");
}

TEST_CASE("a table made from a row decodes to the row") {
    for (const int minor : {13, 14, 15}) {
        for (const bool free_threaded : {false, true}) {
            for (const bool debug : {false, true}) {
                CAPTURE(minor);
                CAPTURE(free_threaded);
                CAPTURE(debug);
                const Layout row = row_of(minor, free_threaded, debug);
                const OffsetTable table(row, final_hex(minor));
                const auto decoded = table.decode();
                REQUIRE(decoded.has_value());
                CHECK(values_of(*decoded) == values_of(row));
                CHECK(decoded->free_threaded == free_threaded);
                CHECK(decoded->version == release(minor, 0));
                CHECK(decoded->instance_dict == InstanceDict::kInlineValues);
            }
        }
    }
    CHECK(OffsetTable(row_of(15), final_hex(15)).bytes().size() == kDebugOffsetsMaxSize);
}

TEST_CASE("a pre-release is taken only if its table is the release's") {
    for (const int minor : {13, 14, 15}) {
        for (const bool free_threaded : {false, true}) {
            CAPTURE(minor);
            CAPTURE(free_threaded);
            const std::uint32_t rc1 = 0x030000C1 | static_cast<std::uint32_t>(minor) << 16;
            OffsetTable table(row_of(minor, free_threaded), rc1);
            REQUIRE(table.decode().has_value());
            CHECK(table.decode()->version.to_string().ends_with("rc1"));

            // A build option at the end of the interpreter state is no other shape.
            table.word("interpreter_state.struct_size") += 8;
            CHECK(table.decode().has_value());

            for (const char* name :
                 {"code_object.struct_size", "thread_state.datastack_chunk", "gc.struct_size"}) {
                CAPTURE(name);
                OffsetTable other(row_of(minor, free_threaded), rc1);
                other.word(name) += 8;
                const auto refused = other.decode();
                REQUIRE_FALSE(refused.has_value());
                CHECK(refused.error().code == ErrorCode::kVersionUnsupported);
            }

            // A word inserted in the middle, as between betas: sizes land on other fields.
            OffsetTable shifted(row_of(minor, free_threaded), rc1);
            shifted.words.insert(shifted.words.begin() + 20, 64);
            REQUIRE_FALSE(shifted.decode().has_value());
            CHECK(shifted.decode().error().code == ErrorCode::kVersionUnsupported);
        }
    }
    const OffsetTable debug(row_of(15, true, true), 0x030f00C2);
    CHECK(debug.decode().has_value());
}

TEST_CASE("fields that the table lacks follow their neighbours") {
    SUBCASE("a structure that only grew at its end keeps them") {
        OffsetTable table(row_of(13), final_hex(13));
        table.word("thread_state.struct_size") += 64;
        const auto layout = table.decode();
        REQUIRE(layout.has_value());
        CHECK(layout->thread_state.id == row_of(13).thread_state.id);
        CHECK(layout->thread_state.datastack_limit == row_of(13).thread_state.datastack_limit);
    }
    SUBCASE("between two that moved alike they move along") {
        OffsetTable table(row_of(14), final_hex(14));
        for (const char* name : {"code_object.linetable", "code_object.co_code_adaptive"}) {
            table.word(name) += 16;
        }
        table.word("code_object.struct_size") += 16;
        const auto layout = table.decode();
        REQUIRE(layout.has_value());
        CHECK(*layout->code_object.firsttraceable == *row_of(14).code_object.firsttraceable + 16);
        CHECK(*layout->code_object.flags == *row_of(14).code_object.flags);
    }
    SUBCASE("between two that moved apart they are absent") {
        OffsetTable table(row_of(14), final_hex(14));
        table.word("code_object.co_code_adaptive") += 8;
        table.word("code_object.struct_size") += 8;
        const auto layout = table.decode();
        REQUIRE(layout.has_value());
        CHECK_FALSE(layout->code_object.firsttraceable.has_value());
        CHECK(layout->code_object.flags == row_of(14).code_object.flags);
    }
    SUBCASE("directly behind the last one they move with it") {
        OffsetTable table(row_of(13), final_hex(13));
        table.word("thread_state.datastack_chunk") += 8;
        const auto layout = table.decode();
        REQUIRE(layout.has_value());
        CHECK(*layout->thread_state.datastack_top == *row_of(13).thread_state.datastack_top + 8);
        CHECK_FALSE(layout->thread_state.id.has_value());
    }
    SUBCASE("the GIL's are counted from the GIL") {
        OffsetTable table(row_of(14), final_hex(14));
        for (const char* name : {"interpreter_state.own_gil", "gil.locked", "gil.last_holder"}) {
            table.word(name) += 40;
        }
        const auto layout = table.decode();
        REQUIRE(layout.has_value());
        CHECK(layout->gil.locked == row_of(14).gil.locked);
        CHECK(layout->gil.switch_mutex == row_of(14).gil.switch_mutex);
    }
}

TEST_CASE("a hostile table is refused or harmless, and never read past its end") {
    for (const int minor : {13, 14, 15}) {
        for (const bool free_threaded : {false, true}) {
            const OffsetTable good(row_of(minor, free_threaded), final_hex(minor));
            CAPTURE(minor);

            // Each word in turn with values that no offset can have.
            for (std::size_t i = 0; i < good.names.size(); ++i) {
                const std::string& name = good.names[i];
                const bool free_threaded_only =
                    name == "gil.enabled" || name.ends_with("tlbc_generation") ||
                    name.ends_with("tlbc_index") || name.ends_with("co_tlbc");
                const bool unread = name == "-" || (free_threaded_only && !free_threaded);
                for (const std::uint64_t value :
                     {~std::uint64_t{0}, std::uint64_t{1} << 63, std::uint64_t{0xffffffff},
                      std::uint64_t{0x100000000}, std::uint64_t{kMaxStructSize} + 8}) {
                    OffsetTable bad = good;
                    bad.words[i + 3] = value;
                    const auto layout = bad.decode();
                    CAPTURE(name);
                    CAPTURE(value);
                    if (unread) {
                        CHECK(layout.has_value());
                        continue;
                    }
                    REQUIRE_FALSE(layout.has_value());
                    CHECK(layout.error().code == ErrorCode::kOffsetsRejected);
                    CHECK(std::string_view(layout.error().what).contains('.'));
                    CHECK(layout.error().message().contains(layout.error().what));
                }
                if (unread || name.ends_with("_size") || name.ends_with("owner") ||
                    name.ends_with("gi_frame_state") || name.ends_with("co_code_adaptive") ||
                    name.ends_with("ob_sval")) {
                    continue;
                }
                OffsetTable misaligned = good;
                misaligned.words[i + 3] += 1;
                const auto layout = misaligned.decode();
                CAPTURE(name);
                REQUIRE_FALSE(layout.has_value());
                CHECK(layout.error().code == ErrorCode::kOffsetsRejected);
            }

            // Cut short anywhere. In a buffer of exactly that size, for the sanitizers.
            for (std::size_t size = 0; size < good.bytes().size(); size += 4) {
                const auto bytes = good.bytes().first(size);
                const std::vector<std::byte> exact(bytes.begin(), bytes.end());
                const auto layout = layout_from_debug_offsets(exact);
                REQUIRE_FALSE(layout.has_value());
                CHECK(layout.error().code == ErrorCode::kOffsetsRejected);
            }

            // Noise behind a good header: of any kind, and of values that are small enough to pass.
            std::mt19937_64 random(static_cast<unsigned>(minor));
            for (int round = 0; round < 2000; ++round) {
                OffsetTable noise = good;
                const std::uint64_t limit = round % 2 == 0 ? ~std::uint64_t{0} : 8192;
                for (std::size_t i = 3; i < noise.words.size(); ++i) {
                    if (round % 3 == 0 && random() % 8 != 0) continue;
                    noise.words[i] = random() % limit & ~std::uint64_t{7};
                }
                if (const auto layout = noise.decode()) CHECK(check_layout(*layout).has_value());
            }
        }
    }
}

TEST_CASE("the header of a table") {
    const OffsetTable table(row_of(13), 0x030d12f0);
    const auto header = parse_debug_offsets_header(table.bytes());
    REQUIRE(header.has_value());
    CHECK(header->version == PythonVersion{3, 13, 18});
    CHECK_FALSE(header->free_threaded);

    const auto with = [&](std::size_t word, std::uint64_t value) {
        OffsetTable other = table;
        other.words[word] = value;
        return parse_debug_offsets_header(other.bytes());
    };
    CHECK_FALSE(with(0, 0).has_value());
    CHECK_FALSE(with(1, 0).has_value());
    CHECK_FALSE(with(1, 0x030c01f0).has_value());    // 3.12 has no table
    CHECK_FALSE(with(1, 0x020d01f0).has_value());    // no Python 2.13
    CHECK_FALSE(with(1, 0x030d0000).has_value());    // no such release level
    CHECK_FALSE(with(1, 0x1'030d12f0).has_value());  // more than 32 bits
    CHECK_FALSE(with(2, 2).has_value());             // neither true nor false
    CHECK(with(1, 0x031000f0).has_value());          // 3.16: a header all the same
    CHECK_FALSE(parse_debug_offsets_header(table.bytes().first(23)).has_value());

    OffsetTable newer = table;
    newer.words[1] = 0x031000f0;
    REQUIRE_FALSE(newer.decode().has_value());
    CHECK(newer.decode().error().code == ErrorCode::kVersionUnsupported);
    CHECK(newer.decode().error().message().contains("3.16.0"));
}

TEST_CASE("the check names the field") {
    const auto rejected = [](Layout layout) -> std::string {
        const auto checked = check_layout(layout);
        if (checked) return "";
        CHECK(checked.error().code == ErrorCode::kOffsetsRejected);
        return checked.error().what;
    };
    const Layout good = row_of(12);
    CHECK(rejected(good) == "");

    Layout bad = good;
    bad.thread_state.id = bad.thread_state.struct_size - 4;
    CHECK(rejected(bad) == "thread_state.id");

    bad = good;
    bad.thread_state.id = 12;
    CHECK(rejected(bad) == "thread_state.id");

    bad = good;
    bad.interpreter_state.struct_size = kMaxStructSize + 8;
    CHECK(rejected(bad) == "interpreter_state");

    bad = good;
    bad.thread_state.cframe = {};
    CHECK(rejected(bad) == "thread_state.cframe");

    bad = good;
    bad.cframe = {};
    CHECK(rejected(bad) == "cframe.current_frame");

    bad = good;
    bad.type_object.ht_name = *bad.type_object.heap_type_size;
    CHECK(rejected(bad) == "type_object.ht_name");

    bad = good;
    bad.interpreter_state.own_gil = bad.interpreter_state.struct_size - 16;
    CHECK(rejected(bad) == "interpreter_state.own_gil");

    bad = good;
    bad.dict_keys.dk_indices = bad.dict_keys.struct_size;  // A flexible array may start at the end.
    CHECK(rejected(bad) == "");

    CHECK(rejected(Layout{}) == "interpreter_state.next");
}

TEST_CASE("the JSON dump has what exists and nothing else") {
    const std::string text = layout_to_json(row_of(10));
    CHECK(text.starts_with(R"({"version": "3.10.1", "free_threaded": false, "debug": false)"));
    CHECK(text.contains(R"("frame_chain": "frame_object")"));
    CHECK(text.contains(R"("thread_state": {"struct_size": )"));
    CHECK(text.contains(R"("code": )"));
    CHECK_FALSE(text.contains("co_code_adaptive"));
    CHECK_FALSE(text.contains("\"cframe\": {"));
    CHECK(std::ranges::count(text, '{') == std::ranges::count(text, '}'));
}
