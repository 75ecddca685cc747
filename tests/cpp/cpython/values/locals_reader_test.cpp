#include "cpython/values/locals_reader.h"

#include <doctest/doctest.h>

#include <bit>
#include <cstdlib>
#include <limits>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "cpython/objects/repr_numbers.h"
#include "cpython/objects/repr_strings.h"
#include "cpython/values/value_renderer.h"
#include "memory/page_cache.h"
#include "support/presentable.h"
#include "support/value_heap.h"

using namespace pystack;
using namespace pystack::cpython;
using namespace pystack::memory;
using model::VariableKind;
using pystack::testing::is_presentable;
using pystack::testing::kMinors;
using pystack::testing::layout_of;
using Heap = pystack::testing::ValueHeap;

namespace {

/// GIL builds of every version and the free-threaded ones.
std::vector<Layout> layouts() {
    std::vector<Layout> all;
    for (const std::uint8_t minor : kMinors) all.push_back(layout_of(minor));
    for (const std::uint8_t minor : {13, 14, 15}) all.push_back(layout_of(minor, true));
    return all;
}

std::string render(Heap& heap, RemoteAddr object, const RenderLimits& limits = {},
                   Redaction redaction = {}) {
    ValueRenderer renderer(heap.memory, heap.layout, limits, std::move(redaction));
    return renderer.render(object);
}

std::string text_of(double value) {
    std::string out;
    append_float(out, value);
    return out;
}

std::string quoted(std::string_view text) {
    std::string out;
    append_str(out, text);
    return out;
}

std::string digits_text(bool negative, const std::vector<std::uint32_t>& digits) {
    std::string out;
    append_int(out, negative, digits);
    return out;
}

/// Looks like a random number, and is always the same for one value.
std::uint64_t mix(std::uint64_t value) {
    value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9;
    value = (value ^ (value >> 27)) * 0x94d049bb133111eb;
    return value ^ (value >> 31);
}

/// Reads of a FakeMemory with some of the bytes wrong, always the same ones for one seed.
class CorruptMemory final : public memory::MemoryReader {
  public:
    CorruptMemory(const memory::MemoryReader& source, std::uint64_t seed, std::uint64_t one_in)
        : source_(source), seed_(seed), one_in_(one_in) {}

    std::size_t read_up_to(RemoteAddr address, std::span<std::byte> destination) const override {
        const std::size_t done = source_.read_up_to(address, destination);
        for (std::size_t i = 0; i < done; ++i) {
            const std::uint64_t hash = mix((address.value + i) ^ seed_);
            if (hash % one_in_ == 0) destination[i] = static_cast<std::byte>(hash >> 32);
        }
        return done;
    }

  private:
    const memory::MemoryReader& source_;
    const std::uint64_t seed_;
    const std::uint64_t one_in_;
};

/// Memory without end, in which every word is a pointer into it or a small number.
class EndlessMemory final : public memory::MemoryReader {
  public:
    explicit EndlessMemory(std::uint64_t seed) : seed_(seed) {}

    std::size_t read_up_to(RemoteAddr address, std::span<std::byte> destination) const override {
        for (std::size_t i = 0; i < destination.size(); ++i) {
            const std::uint64_t at = address.value + i;
            const std::uint64_t word = mix((at / 8 + 1) * 0x9e3779b97f4a7c15 ^ seed_);
            const std::uint64_t value = word % 4 == 0   ? word >> 8 & 0xff
                                        : word % 4 == 1 ? word
                                                        : (word >> 20 & 0xfffff8);
            destination[i] = static_cast<std::byte>(value >> (at % 8 * 8));
        }
        return destination.size();
    }

  private:
    const std::uint64_t seed_;
};

}  // namespace

TEST_CASE("floats as repr() writes them") {
    const std::pair<double, std::string> cases[] = {
        {0.0, "0.0"},
        {-0.0, "-0.0"},
        {1.0, "1.0"},
        {0.1, "0.1"},
        {-1.5, "-1.5"},
        {100.0, "100.0"},
        {1e15, "1000000000000000.0"},
        {9999999999999998.0, "9999999999999998.0"},
        {1e16, "1e+16"},
        {1.5e16, "1.5e+16"},
        {123456789012345680.0, "1.2345678901234568e+17"},
        {1e22, "1e+22"},
        {1e23, "1e+23"},
        {1e100, "1e+100"},
        {0.0001, "0.0001"},
        {0.00012345, "0.00012345"},
        {0.00001, "1e-05"},
        {1.5e-7, "1.5e-07"},
        {5e-324, "5e-324"},
        {std::numeric_limits<double>::max(), "1.7976931348623157e+308"},
        {std::numeric_limits<double>::infinity(), "inf"},
        {-std::numeric_limits<double>::infinity(), "-inf"},
        {std::numeric_limits<double>::quiet_NaN(), "nan"},
        {-std::numeric_limits<double>::quiet_NaN(), "nan"},
        {0x1p-44, "5.684341886080802e-14"},
        {4.35, "4.35"},
    };
    for (const auto& [value, expected] : cases) CHECK(text_of(value) == expected);

    std::mt19937_64 random(1);
    for (int i = 0; i < 20'000; ++i) {
        const auto value = std::bit_cast<double>(random());
        if (value != value) continue;
        const std::string text = text_of(value);
        REQUIRE(std::strtod(text.c_str(), nullptr) == value);
        REQUIRE(text.find_first_not_of("0123456789.e+-inf") == std::string::npos);
    }
}

TEST_CASE("complex numbers as repr() writes them") {
    constexpr double kInfinity = std::numeric_limits<double>::infinity();
    constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
    const std::tuple<double, double, std::string> cases[] = {
        {0, 0, "0j"},
        {0, 2, "2j"},
        {0, -0.0, "-0j"},
        {1, 2, "(1+2j)"},
        {-0.0, 1, "(-0+1j)"},
        {1.5, -2.25, "(1.5-2.25j)"},
        {1e16, 1e-5, "(1e+16+1e-05j)"},
        {kInfinity, kNan, "(inf+nanj)"},
        {kNan, -kInfinity, "(nan-infj)"},
    };
    for (const auto& [real, imaginary, expected] : cases) {
        std::string out;
        append_complex(out, real, imaginary);
        CHECK(out == expected);
    }
}

TEST_CASE("ints of any size") {
    constexpr std::uint32_t kMax = (1u << 30) - 1;
    CHECK(digits_text(false, {}) == "0");
    CHECK(digits_text(false, {7}) == "7");
    CHECK(digits_text(true, {kMax}) == "-1073741823");
    CHECK(digits_text(false, {0, 1}) == "1073741824");
    CHECK(digits_text(true, {kMax, kMax}) == "-1152921504606846975");
    CHECK(digits_text(false, {0, 0, 1}) == "1152921504606846976");
    // 10 ** 27, whose lower chunks are all zeros, and 2 ** 100.
    CHECK(digits_text(false, {671088640, 1061290227, 867361737}) == "1" + std::string(27, '0'));
    CHECK(digits_text(false, {0, 0, 0, 1u << 10}) == "1267650600228229401496703205376");
    CHECK(digits_text(true, {0, 0, 0, 0}) == "0");
}

TEST_CASE("strings as repr() writes them") {
    CHECK(quoted("") == "''");
    CHECK(quoted("text") == "'text'");
    CHECK(quoted("it's") == "\"it's\"");
    CHECK(quoted("say \"hi\"") == "'say \"hi\"'");
    CHECK(quoted("it's \"both\"") == "'it\\'s \"both\"'");
    CHECK(quoted("a\\b") == "'a\\\\b'");
    CHECK(quoted(std::string_view("\t\n\r\0\x1b\x7f", 6)) == "'\\t\\n\\r\\x00\\x1b\\x7f'");
    CHECK(quoted("caf\xc3\xa9") == "'caf\xc3\xa9'");
    CHECK(quoted("\xc2\x80\xc2\xa0\xc2\xad") == "'\\x80\\xa0\\xad'");
    CHECK(quoted("\xe2\x80\xa8\xe2\x80\xae\xef\xbb\xbf") == "'\\u2028\\u202e\\ufeff'");
    CHECK(quoted("\xf0\x9f\x98\x80") == "'\xf0\x9f\x98\x80'");
    CHECK(quoted("\xf3\xa0\x81\x81\xee\x80\x80") == "'\\U000e0041\\ue000'");
    CHECK(quoted("\xed\xa0\x80") == "'\\ud800'");
    // No UTF-8: stray and cut bytes, forms that are too long, beyond the last code point.
    CHECK(quoted("\xff\x80\xc3") == "'\\xff\\x80\\xc3'");
    CHECK(quoted("\xc1\x81") == "'\\xc1\\x81'");
    CHECK(quoted("\xf4\x90\x80\x80") == "'\\xf4\\x90\\x80\\x80'");
    CHECK(escaped_name("na'me\\\x1b[0m") == "na'me\\\\x1b[0m");
    CHECK(is_printable(' '));
    CHECK(is_printable(0x10000));
    CHECK_FALSE(is_printable(0x10ffff));
}

TEST_CASE("values of every layout") {
    for (const Layout& layout : layouts()) {
        CAPTURE(layout.version.to_string());
        CAPTURE(layout.free_threaded);
        Heap heap(layout);
        const RemoteAddr one = heap.number(1);
        const RemoteAddr text = heap.typed_str(U"a'é");
        CHECK(render(heap, one) == "1");
        CHECK(render(heap, heap.number(-(std::int64_t{1} << 40))) == "-1099511627776");
        CHECK(render(heap, heap.typed(heap.integer(false, {1}), "bool")) == "True");
        CHECK(render(heap, heap.typed(heap.integer(false, {}), "bool")) == "False");
        CHECK(render(heap, heap.none()) == "None");
        CHECK(render(heap, heap.real(2.5)) == "2.5");
        CHECK(render(heap, text) == "\"a'é\"");
        CHECK(render(heap, heap.list({})) == "[]");
        CHECK(render(heap, heap.list({one, text, heap.tuple({one})})) == "[1, \"a'é\", (1,)]");
        CHECK(render(heap, heap.tuple({})) == "()");
        CHECK(render(heap, heap.tuple({one, RemoteAddr{}})) == "(1, <NULL>)");
        CHECK(render(heap, heap.set({one, {}, text}, 8)) == "{1, \"a'é\"}");
        CHECK(render(heap, heap.set({}, 8)) == "set()");
        CHECK(render(heap, heap.set({one}, 8, "frozenset")) == "frozenset({1})");
        CHECK(render(heap, heap.slice(one, heap.none(), one)) == "slice(1, None, 1)");
        const RemoteAddr key = heap.typed_str("key");
        CHECK(render(heap, heap.typed_dict({{key, one}, {one, text}})) == "{'key': 1, 1: \"a'é\"}");
        CHECK(render(heap, heap.typed_dict({{key, one}}, Heap::Kind::kUnicode)) == "{'key': 1}");
        CHECK(render(heap, heap.typed_dict({})) == "{}");
        CHECK(render(heap, heap.object("Point", {{key, one}, {heap.typed_str("y"), text}})) ==
              "Point(key=1, y=\"a'é\")");
        ValueRenderer renderer(heap.memory, layout, {});
        const auto in_cell = renderer.render_variable(heap.cell(one));
        REQUIRE(in_cell);
        CHECK(in_cell->value == "1");
        CHECK(in_cell->type_name == "int");
        CHECK_FALSE(renderer.render_variable(heap.cell({})));
    }
}

TEST_CASE("limits say what is left out") {
    const Layout layout = layout_of(13);
    Heap heap(layout);
    const std::vector<RemoteAddr> many(100, heap.number(1));
    CHECK(render(heap, heap.list(many), {.max_items = 2}) == "[1, 1, ... 98 more]");
    CHECK(render(heap, heap.tuple(many), {.max_items = 1}) == "(1, ... 99 more)");
    CHECK(render(heap, heap.list(many), {.max_items = 0}) == "[... 100 more]");
    const std::string text = "abcd" + std::string(20, 'x');
    CHECK(render(heap, heap.typed_str(text), {.max_string = 4}) == "'abcd' ... 20 more");
    CHECK(render(heap, heap.bytes_of(text), {.max_string = 4}) == "b'abcd' ... 20 more");
    // A note that is as long as what it hides hides nothing.
    CHECK(render(heap, heap.typed_str(text), {.max_string = 12}) == "'" + text + "'");
    CHECK(render(heap, heap.bytes_of(text), {.max_string = 12}) == "b'" + text + "'");
    CHECK(render(heap, heap.typed_str(text), {.max_string = 11}) == "'abcdxxxxxxx' ... 13 more");
    CHECK(render(heap, heap.typed_str("abcd"), {.max_string = 4}) == "'abcd'");
    CHECK(render(heap, heap.typed_str(std::u32string(14, U'é')), {.max_string = 1}) ==
          "'é' ... 13 more");
    const RemoteAddr nested = heap.list({heap.list({heap.list({heap.number(1)})})});
    CHECK(render(heap, nested, {.max_depth = 3}) == "[[[1]]]");
    CHECK(render(heap, nested, {.max_depth = 2}) == "[[[... 1 more]]]");
    CHECK(render(heap, nested, {.max_depth = 0}) == "[... 1 more]");
    const RemoteAddr holder = heap.object("Holder", {{heap.typed_str("x"), heap.number(1)}});
    CHECK(render(heap, holder, {.max_depth = 0}) == "Holder(...)");

    const RemoteAddr huge =
        heap.typed(heap.integer(true, std::vector<std::uint32_t>(200, 1)), "int");
    CHECK(render(heap, huge) == "<negative int of 5971 bits>");
    CHECK(render(heap, huge, {.max_int_digits = 4300}).size() == 1 + 1798);
}

TEST_CASE("one value takes no more than its share of the byte budget") {
    const Layout layout = layout_of(13);
    Heap heap(layout);
    std::vector<RemoteAddr> rows(200, heap.list({heap.typed_str("a"), heap.typed_str("b")}));
    const RemoteAddr table = heap.list(rows);
    ValueRenderer renderer(heap.memory, layout, {.max_items = 1000});
    const std::string shown = renderer.render(table);
    CHECK(shown.starts_with("[['a', 'b'], ['a', 'b'], "));
    CHECK(shown.ends_with(" more]"));
    CHECK(shown.size() < 2'000);
    CHECK(renderer.render(heap.typed_str("small")) == "'small'");
}

TEST_CASE("the byte budget ends a thread's values, not the frames") {
    const Layout layout = layout_of(13);
    Heap heap(layout);
    const RemoteAddr text = heap.typed_str(std::string(100, 'x'));
    const RemoteAddr list = heap.list(std::vector<RemoteAddr>(1000, text));
    ValueRenderer renderer(heap.memory, layout, {.max_items = 1000, .max_bytes = 2000});
    renderer.begin();
    const std::string first = renderer.render(list);
    CHECK(first.size() < 3000);
    CHECK(first.find(" more]") != std::string::npos);
    renderer.render(list);
    CHECK(renderer.render(text) == "<not read: byte budget spent>");
    renderer.begin();
    CHECK(renderer.render(text) == "'" + std::string(100, 'x') + "'");
}

TEST_CASE("cycles are shown as such") {
    for (const Layout& layout : layouts()) {
        CAPTURE(layout.version.to_string());
        Heap heap(layout);
        const RemoteAddr list = heap.list({heap.number(1), heap.number(2)});
        heap.memory.put(heap.list_array(list) + 8, list);
        CHECK(render(heap, list) == "[1, [...]]");
        const RemoteAddr tuple = heap.tuple({list});
        heap.memory.put(heap.list_array(list), tuple);
        CHECK(render(heap, tuple) == "([(...), [...]],)");
        // The same object twice is no cycle.
        const RemoteAddr shared = heap.list({});
        CHECK(render(heap, heap.tuple({shared, shared})) == "([], [])");
    }
}

TEST_CASE("subclasses show their content and their class") {
    const Layout layout = layout_of(13);
    Heap heap(layout);
    const RemoteAddr my_list = heap.make_type("MyList", heap.builtin("list"), 0, true);
    const RemoteAddr my_int = heap.make_type("MyInt", heap.builtin("int"), 0, true);
    const RemoteAddr list = heap.typed(heap.list({heap.number(1)}), my_list);
    CHECK(render(heap, list) == "MyList([1])");
    CHECK(render(heap, heap.typed(heap.integer(false, {5}), my_int)) == "MyInt(5)");
    heap.memory.put(heap.list_array(list), list);
    CHECK(render(heap, list) == "MyList([MyList(...)])");
    // A class of the program that only has the name of a built-in.
    const RemoteAddr impostor = heap.make_type("list", {}, 0, true);
    CHECK(render(heap, heap.typed(heap.list({}), impostor)).starts_with("<list at 0x"));
}

TEST_CASE("values are hidden by name, and not read") {
    const Layout layout = layout_of(13);
    Heap heap(layout);
    const Redaction redaction{.names = {"password", "api_key"}};
    const RemoteAddr hidden{0x10};  // Reading it would fail.
    const RemoteAddr key = heap.typed_str("password");
    const RemoteAddr header = heap.bytes_of("X-Api-Key");
    const auto shown = [&](RemoteAddr object) { return render(heap, object, {}, redaction); };
    CHECK(shown(heap.object("Login", {{key, hidden}})) == "Login(password=<redacted>)");
    CHECK(shown(heap.typed_dict({{key, hidden}, {heap.number(1), key}})) ==
          "{'password': <redacted>, 1: 'password'}");
    CHECK(shown(heap.typed_dict({{header, hidden}})) == "{b'X-Api-Key': <redacted>}");
    // Pairs, as the headers of a request are often kept.
    CHECK(shown(heap.tuple({header, hidden})) == "(b'X-Api-Key', <redacted>)");
    CHECK(shown(heap.list({heap.tuple({key, hidden}), heap.list({key, hidden})})) ==
          "[('password', <redacted>), ['password', <redacted>]]");
    const RemoteAddr two = heap.number(2);
    CHECK(shown(heap.tuple({two, key})) == "(2, 'password')");
    CHECK(shown(heap.tuple({key, two, two})) == "('password', 2, 2)");
    CHECK(shown(heap.tuple({key})) == "('password',)");
    // A set has no first element.
    CHECK(shown(heap.set({key, two}, 8)).find("redacted") == std::string::npos);
    CHECK(render(heap, heap.tuple({key, two})) == "('password', 2)");
}

TEST_CASE("secrets in texts are hidden") {
    for (const Layout& layout : layouts()) {
        Heap heap(layout);
        const Redaction redaction{.names = {"password"}, .in_text = true};
        const auto shown = [&](RemoteAddr object, std::size_t max_string = 200) {
            return render(heap, object, {.max_string = max_string}, redaction);
        };
        CHECK(shown(heap.typed_str("Bearer abcdef12'x")) == "\"Bearer <redacted>'x\"");
        CHECK(shown(heap.typed_str(std::u32string(U"db://me:gr\u00fcn@host/"))) ==
              "'db://me:<redacted>@host/'");
        CHECK(shown(heap.bytes_of("password=1&a=2")) == "b'password=<redacted>&a=2'");
        // Where a text is cut, a secret may go on behind.
        CHECK(shown(heap.typed_str("db://me:hunter2@host/path"), 12) ==
              "'db://me:<redacted>' ... 13 more");
        CHECK(render(heap, heap.typed_str("Bearer abc")) == "'Bearer abc'");
    }
}

TEST_CASE("what cannot be read says so in its place") {
    const Layout layout = layout_of(13);
    Heap heap(layout);
    const RemoteAddr one = heap.number(1);
    CHECK(render(heap, RemoteAddr{0x10}) ==
          "<unreadable: cannot read 16 bytes of the target at 0x10>");
    CHECK(render(heap, heap.list({one, RemoteAddr{0x10}, one})) ==
          "[1, <unreadable: cannot read 16 bytes of the target at 0x10>, 1]");
    const RemoteAddr no_type = heap.typed(heap.list({}), RemoteAddr{0x20});
    CHECK(render(heap, no_type).starts_with("<unreadable: "));

    constexpr auto kHuge = std::numeric_limits<std::int64_t>::max();
    CHECK(render(heap, heap.list({one}, kHuge)).starts_with("<unreadable: "));
    const RemoteAddr text = heap.typed_str("abc");
    heap.memory.put(text + *layout.unicode_object.length, kHuge);
    CHECK(render(heap, text).starts_with("<unreadable: "));
    const RemoteAddr number = heap.number(1);
    heap.memory.put(number + *layout.long_object.lv_tag, ~std::uint64_t{7});
    CHECK(render(heap, number).starts_with("<unreadable: "));
    const RemoteAddr set = heap.set({one}, 8);
    heap.memory.put(set + *layout.set_object.mask, kHuge);
    heap.memory.put(set + *layout.set_object.used, kHuge);
    CHECK(render(heap, set).starts_with("<unreadable: "));
    const RemoteAddr dict = heap.typed_dict({{one, one}});
    heap.memory.put(dict + *layout.dict_object.ma_used, kHuge);
    CHECK(render(heap, dict) == "{1: 1, ... 9223372036854775806 more}");
}

TEST_CASE("rings of types come to an end") {
    const Layout layout = layout_of(13);
    Heap heap(layout);
    const RemoteAddr first = heap.make_type("First", {}, 0, true);
    const RemoteAddr second = heap.make_type("Second", first, 0, true);
    heap.memory.put(first + *layout.type_object.tp_base, second);
    CHECK(render(heap, heap.typed(heap.list({}), second)).starts_with("<unreadable: "));
    RemoteAddr base;
    for (int i = 0; i < 1000; ++i) base = heap.make_type("Long", base, 0, true);
    CHECK(render(heap, heap.typed(heap.list({}), base)).starts_with("<unreadable: "));
    // A metaclass that is its own instance's class, as type is.
    heap.typed(first, first);
    heap.memory.put(first + *layout.type_object.tp_base, RemoteAddr{});
    CHECK(render(heap, heap.typed(heap.list({}), first)).starts_with("<First at 0x"));
}

TEST_CASE("deep nesting and slices of slices come to an end") {
    const Layout layout = layout_of(13);
    Heap heap(layout);
    RemoteAddr deep = heap.list({});
    for (int i = 0; i < 10'000; ++i) deep = heap.list({deep});
    const std::string text = render(heap, deep, {.max_depth = 1'000'000});
    CHECK(text.size() < 1000);
    CHECK(text.find("... 1 more") != std::string::npos);
    const RemoteAddr slice = heap.slice({}, {}, {});
    for (const FieldOffset field : {layout.slice_object.start, layout.slice_object.stop}) {
        heap.memory.put(slice + *field, slice);
    }
    CHECK(render(heap, slice).size() < 200'000);
}

TEST_CASE("corrupt memory gives text without control characters, and ends") {
    for (const std::uint8_t minor : {6, 10, 11, 12, 13, 15}) {
        CAPTURE(minor);
        const Layout layout = layout_of(minor);
        Heap heap(layout);
        const RemoteAddr one = heap.number(1);
        const RemoteAddr text = heap.typed_str("some text");
        const RemoteAddr list = heap.list({one, text});
        const RemoteAddr object = heap.object("Thing", {{heap.typed_str("x"), list}});
        const RemoteAddr dict = heap.typed_dict({{text, object}, {one, heap.set({one, text}, 8)}});
        const RemoteAddr all = heap.tuple({dict, object, heap.slice(one, text, list),
                                           heap.cell(one), heap.typed(list, "collections.deque"),
                                           heap.typed(heap.number(5), "datetime.datetime"),
                                           heap.typed(heap.number(5), "numpy.ndarray"),
                                           heap.typed(heap.number(5), "BaseException")});
        for (std::uint64_t seed = 0; seed < 700; ++seed) {
            const CorruptMemory memory(heap.memory, seed, 20 + seed % 400);
            ValueRenderer renderer(memory, layout, {.max_bytes = 20'000});
            const std::string shown = renderer.render(all);
            REQUIRE_MESSAGE(is_presentable(shown), "seed " << seed);
            REQUIRE(shown.size() < 2'000'000);
        }
    }
}

TEST_CASE("memory that is all pointers to more of it gives an end") {
    for (const Layout& layout : layouts()) {
        for (std::uint64_t seed = 0; seed < 5; ++seed) {
            const EndlessMemory memory(seed);
            ValueRenderer renderer(memory, layout, {.max_bytes = 2'000});
            for (std::uint64_t object = 0; object < 20; ++object) {
                const auto shown = renderer.render_variable(RemoteAddr{object * 0x1230});
                if (shown) REQUIRE(is_presentable(shown->value));
            }
        }
    }
}

TEST_CASE("a page copy reads each page once, and pieces of pages too") {
    pystack::testing::FakeMemory memory;
    std::vector<std::byte> bytes(3 * 4096);
    for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(i * 7);
    memory.add(RemoteAddr{0x10000}, bytes);
    memory.add(RemoteAddr{0x20100}, {std::byte{1}, std::byte{2}});
    const PageCache pages(memory);
    CHECK(pages.read_bytes(RemoteAddr{0x10ff0}, 64).value() ==
          std::vector<std::byte>(bytes.begin() + 0xff0, bytes.begin() + 0x1030));
    const std::size_t calls = memory.calls();
    CHECK(pages.read_bytes(RemoteAddr{0x10000}, 0x1ff0));
    CHECK(memory.calls() == calls);
    CHECK(pages.read_bytes(RemoteAddr{0x12000}, 0x1000));
    CHECK_FALSE(pages.read_bytes(RemoteAddr{0x12ff0}, 64));
    // A page that is not there as a whole.
    CHECK(pages.read_value<std::uint8_t>(RemoteAddr{0x20101}).value() == 2);
    CHECK_FALSE(pages.read_value<std::uint16_t>(RemoteAddr{0x20101}));
    CHECK_FALSE(pages.read_value<std::uint64_t>(RemoteAddr{UINT64_MAX - 3}));

    PageCache again(memory);
    CHECK(again.read_bytes(RemoteAddr{0x10000}, 0x3000));
    memory.put(RemoteAddr{0x10000}, std::uint8_t{0xee});
    again.copy_again();
    const std::size_t before = memory.calls();
    CHECK(again.read_value<std::uint8_t>(RemoteAddr{0x10000}).value() == 0xee);
    CHECK(memory.calls() == before);
}

TEST_CASE("a renderer that is sealed reads what was copied and nothing else") {
    const Layout layout = layout_of(13);
    Heap heap(layout);
    const RemoteAddr number = heap.number(7);
    const RemoteAddr list = heap.list({number, heap.typed_str("text")});
    // FakeMemory has pieces of pages: whole ones are what a process has.
    class Padded final : public memory::MemoryReader {
      public:
        explicit Padded(const pystack::testing::FakeMemory& memory) : memory_(memory) {}
        std::size_t read_up_to(RemoteAddr address,
                               std::span<std::byte> destination) const override {
            for (std::size_t i = 0; i < destination.size(); ++i) {
                destination[i] = std::byte{0};
                memory_.read_up_to(address + i, destination.subspan(i, 1));
            }
            return destination.size();
        }

      private:
        const pystack::testing::FakeMemory& memory_;
    };
    const Padded padded(heap.memory);
    ValueRenderer frozen(padded, layout, {});
    CHECK(frozen.render(list) == "[7, 'text']");
    frozen.reset();
    frozen.freeze();
    heap.memory.put(number + *layout.long_object.ob_digit, std::uint32_t{8});
    const std::size_t calls = heap.memory.calls();
    CHECK(frozen.render(list) == "[7, 'text']");
    CHECK(frozen.misses() == 0);
    CHECK(frozen.render(RemoteAddr{0x70000000}).starts_with("<unreadable: "));
    CHECK(frozen.misses() > 0);
    CHECK(heap.memory.calls() == calls);
    frozen.reset();
    CHECK(frozen.misses() == 0);
    CHECK(frozen.render(list) == "[8, 'text']");
}

TEST_CASE("words of a frame") {
    CHECK_FALSE(decode_slot(StackRef::kPointer, 0).bound());
    CHECK(decode_slot(StackRef::kPointer, 0x1000).object == RemoteAddr{0x1000});
    for (const StackRef format : {StackRef::kTaggedInt, StackRef::kTaggedIntInvalid}) {
        CHECK_FALSE(decode_slot(format, 0).bound());
        CHECK_FALSE(decode_slot(format, 1).bound());
        CHECK(decode_slot(format, 0x1000).object == RemoteAddr{0x1000});
        CHECK(decode_slot(format, 0x1001).object == RemoteAddr{0x1000});
        CHECK(decode_slot(format, 7 << 2 | 3).tagged_int == 7);
        CHECK(decode_slot(format, static_cast<std::uint64_t>(-5) << 2 | 3).tagged_int == -5);
    }
    CHECK_FALSE(decode_slot(StackRef::kTaggedIntInvalid, 0x1002).bound());
}

namespace {

/// def function(first, second, *rest, only, **more), with a local, a cell and a free variable;
/// `second` is in a cell too.
struct FakeFrame {
    explicit FakeFrame(Heap& heap) : code(), raw() {
        const Layout& layout = heap.layout;
        const auto& fields = layout.code_object;
        code.address = heap.memory.allocate(fields.struct_size);
        const auto put = [&](FieldOffset field, auto value) {
            if (field) heap.memory.put(code.address + *field, value);
        };
        put(fields.argcount, std::int32_t{2});
        put(fields.posonlyargcount, std::int32_t{1});
        put(fields.kwonlyargcount, std::int32_t{1});
        put(fields.flags, std::uint32_t{0x1 | 0x2 | 0x4 | 0x8});
        put(fields.nlocals, std::int32_t{6});
        put(fields.nlocalsplus, std::int32_t{8});
        const std::vector<std::string> names{"first", "second", "only", "rest", "more", "local"};
        const auto tuple_of = [&heap](const std::vector<std::string>& texts) {
            std::vector<RemoteAddr> strs;
            for (const std::string& text : texts) strs.push_back(heap.typed_str(text));
            return heap.tuple(strs);
        };
        has_kinds = fields.localspluskinds.has_value();
        if (has_kinds) {
            auto all = names;
            all.insert(all.end(), {"cell", "free"});
            put(fields.localsplusnames, tuple_of(all));
            put(fields.localspluskinds,
                kinds(heap, {0x20, 0x60, 0x20, 0x20, 0x20, 0x20, 0x40, 0x80}));
        } else {
            put(fields.varnames, tuple_of(names));
            put(fields.cellvars, tuple_of({"second", "cell"}));
            put(fields.freevars, tuple_of({"free"}));
        }
        const std::uint32_t words = has_kinds ? 8 : 9;
        raw.address = heap.memory.allocate(*layout.interpreter_frame.localsplus + 8 * words);
        raw.code = code.address;
    }

    static RemoteAddr kinds(Heap& heap, const std::vector<std::uint8_t>& bits) {
        const auto& fields = heap.layout.bytes_object;
        const RemoteAddr address = heap.memory.allocate(*fields.ob_sval + bits.size());
        heap.memory.put(address + *fields.ob_size, std::uint64_t{bits.size()});
        heap.memory.write(address + *fields.ob_sval, std::as_bytes(std::span(bits)));
        return address;
    }

    void put(Heap& heap, std::size_t word, std::uint64_t value) const {
        heap.memory.put(raw.address + *heap.layout.interpreter_frame.localsplus + 8 * word, value);
    }

    Code code;
    RawFrame raw;
    bool has_kinds = false;
};

}  // namespace

TEST_CASE("variables of a frame, by class and in the order of the signature") {
    for (const Layout& layout : layouts()) {
        CAPTURE(layout.version.to_string());
        Heap heap(layout);
        const FakeFrame frame(heap);
        LocalsReader reader(heap.memory, layout);
        const RemoteRange range = reader.range(frame.code, frame.raw);
        CHECK(range.begin == frame.raw.address);
        CHECK(range.size() == *layout.interpreter_frame.localsplus + (frame.has_kinds ? 64u : 72u));

        const auto number = [&heap](int value) { return heap.number(value).value; };
        frame.put(heap, 0, number(10));
        const RemoteAddr in_cell = heap.cell(heap.number(11));
        frame.put(heap, frame.has_kinds ? 1 : 6, in_cell.value);
        frame.put(heap, 2, number(12));
        frame.put(heap, 3, number(13));
        frame.put(heap, 4, number(14));
        frame.put(heap, frame.has_kinds ? 6 : 7, heap.cell({}).value);
        frame.put(heap, frame.has_kinds ? 7 : 8, heap.cell(heap.number(15)).value);
        ValueRenderer renderer(heap.memory, layout, {}, Redaction{.names = {"only"}});
        const LocalsReader::Frame wanted{&frame.raw, &frame.code};
        const auto found = reader.read(std::span(&wanted, 1), heap.memory, renderer);
        REQUIRE(found.size() == 1);
        CHECK(found[0].problem == "");
        std::vector<std::tuple<std::string, VariableKind, std::string>> seen;
        for (const model::Variable& variable : found[0].variables) {
            seen.emplace_back(variable.name, variable.kind, variable.value);
            CHECK(variable.redacted == (variable.name == "only"));
            CHECK(variable.type_name.has_value() == !variable.redacted);
        }
        const VariableKind first = layout.code_object.posonlyargcount
                                       ? VariableKind::kPositionalOnly
                                       : VariableKind::kPositional;
        CHECK(seen == decltype(seen){{"first", first, "10"},
                                     {"second", VariableKind::kPositional, "11"},
                                     {"rest", VariableKind::kVarPositional, "13"},
                                     {"only", VariableKind::kKeywordOnly, ""},
                                     {"more", VariableKind::kVarKeyword, "14"},
                                     {"free", VariableKind::kFree, "15"}});
    }
}

TEST_CASE("code objects that make no sense give a problem, not a crash") {
    for (const Layout& layout : layouts()) {
        Heap heap(layout);
        for (const std::int32_t count : {-1, 3, 1000, std::numeric_limits<std::int32_t>::max()}) {
            const FakeFrame frame(heap);
            heap.memory.put(frame.code.address + *layout.code_object.argcount, count);
            heap.memory.put(frame.code.address + *layout.code_object.kwonlyargcount, count);
            LocalsReader reader(heap.memory, layout);
            ValueRenderer renderer(heap.memory, layout, {});
            const LocalsReader::Frame wanted{&frame.raw, &frame.code};
            const auto found = reader.read(std::span(&wanted, 1), heap.memory, renderer);
            CHECK(found[0].variables.empty());
        }
        Code nowhere;
        nowhere.address = RemoteAddr{0x10};
        RawFrame raw;
        LocalsReader reader(heap.memory, layout);
        CHECK(reader.variables_of(nowhere).problem.has_value());
        ValueRenderer renderer(heap.memory, layout, {});
        const LocalsReader::Frame frames[] = {{&raw, &nowhere}, {nullptr, nullptr}};
        CHECK(reader.read(frames, heap.memory, renderer).size() == 2);
    }
}
