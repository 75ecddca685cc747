#include <doctest/doctest.h>
#include <elf.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <string_view>
#include <vector>

#include "modules/fde_index.h"
#include "support/stopped_child.h"
#include "symbols/split_functions.h"
#include "symbols/symbolizer.h"

using pystack::testing::StoppedChild;
using pystack::testing::wait_forever;

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

}  // namespace

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

TEST_CASE("names, lines and inlined functions") {
    StoppedChild child([] {
        shapes::render<shapes::Circle>({7}, "x");
        AFTER_CALL;
    });
    const auto unwinder = NativeUnwinder::create(*child.target);
    REQUIRE(unwinder);
    std::vector<modules::NativeFrame> frames;
    REQUIRE(child.unwind(**unwinder, frames).end == modules::UnwindEnd::kComplete);
    symbols::Symbolizer symbolizer((*unwinder)->code_map(), {});
    const auto render =
        std::find_if(frames.begin(), frames.end(), [&](const modules::NativeFrame& frame) {
            return symbolizer.symbolize(frame).frames.back().function.ends_with("shapes::render");
        });
    REQUIRE(render != frames.end());
    const symbols::SymbolizedAddress& answer = symbolizer.symbolize(*render);
    CHECK(answer.frames.back().signature.contains("std::vector<int"));
    CHECK(answer.frames.back().signature.contains("char const*"));
    CHECK(answer.frames.back().symbol.starts_with("_ZN"));
    CHECK(&symbolizer.symbolize(*render) == &answer);
    const auto start = symbolizer.function_start(render->lookup_address());
    REQUIRE(start);
    CHECK(*start < render->pc);
    CHECK(symbolizer.function_start(*start) == start);
    if (answer.frames.back().origin != symbols::NameOrigin::kDwarf) {
        MESSAGE("the tests are built without -g: lines and inlined functions are not checked");
        return;
    }
    REQUIRE(answer.frames.size() == 2);
    CHECK(answer.frames[0].is_inlined);
    CHECK(answer.frames[0].function.ends_with("shapes::Circle::draw"));
    CHECK(answer.frames[0].file.ends_with("symbolizer_test.cpp"));
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
    const auto code = std::make_shared<const modules::CodeModule>(module);
    const modules::ElfSections sections(code->bytes());
    const modules::ElfSection* table = sections.find(".symtab");
    if (table == nullptr) return;
    const auto address_of = [&](std::string_view name) -> std::uint64_t {
        for (std::size_t at = 0; at + sizeof(Elf64_Sym) <= table->bytes.size();
             at += sizeof(Elf64_Sym)) {
            Elf64_Sym symbol;
            std::memcpy(&symbol, table->bytes.data() + at, sizeof symbol);
            if (modules::text_at(sections.all()[table->link].bytes, symbol.st_name) == name)
                return symbol.st_value;
        }
        return 0;
    };
    const modules::FdeIndex functions(code);
    symbols::SplitFunctions split(code, functions);
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

TEST_CASE("names that are given") {
    StoppedChild child([] { wait_forever(); });
    const auto unwinder = NativeUnwinder::create(*child.target);
    REQUIRE(unwinder);
    std::vector<modules::NativeFrame> frames;
    REQUIRE(child.unwind(**unwinder, frames).end == modules::UnwindEnd::kComplete);
    // A function of the C library that its dynamic symbols do not name; what has a name keeps it.
    const symbols::SymbolizerOptions options{.debug_files = {.roots = {}, .fetch = {}},
                                             .use_dwarf = false};
    for (const modules::NativeFrame& frame : frames) {
        symbols::Symbolizer without((*unwinder)->code_map(), options);
        symbols::Symbolizer with((*unwinder)->code_map(), options);
        const auto start = with.function_start(frame.lookup_address());
        if (!start) continue;
        with.add_name(*start, "given name<x>(y)");
        const symbols::SymbolizedFrame& old_name = without.symbolize(frame).frames.front();
        const symbols::SymbolizedFrame& new_name = with.symbolize(frame).frames.front();
        if (old_name.origin == symbols::NameOrigin::kNone) {
            CHECK(new_name.function == "given name<x>(y)");
            CHECK(new_name.origin == symbols::NameOrigin::kGiven);
            CHECK(new_name.symbol.empty());
        } else {
            CHECK(new_name.function == old_name.function);
        }
    }
}

TEST_CASE("an address without a name keeps its place") {
    StoppedChild child([] { wait_forever(); });
    const auto unwinder = NativeUnwinder::create(*child.target);
    REQUIRE(unwinder);
    symbols::Symbolizer symbolizer((*unwinder)->code_map(), {});
    const modules::NativeFrame nowhere{.pc = {0x1234}, .sp = {}, .is_activation = true};
    const symbols::SymbolizedAddress& answer = symbolizer.symbolize(nowhere);
    REQUIRE(answer.frames.size() == 1);
    CHECK(answer.frames[0].function == "0x1234");
    CHECK(answer.frames[0].origin == symbols::NameOrigin::kNone);
}

}  // namespace
}  // namespace pystack::unwind
