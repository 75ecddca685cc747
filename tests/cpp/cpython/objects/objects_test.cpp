#include "cpython/objects/objects.h"

#include <doctest/doctest.h>

#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "support/fake_heap.h"

using namespace pystack;
using namespace pystack::cpython;
using pystack::testing::kMinors;
using pystack::testing::layout_of;
using Heap = pystack::testing::FakeHeap;

namespace {

ErrorCode code_of(const auto& result) {
    REQUIRE_FALSE(result);
    return result.error().code;
}

}  // namespace

TEST_CASE("str of every kind becomes UTF-8") {
    for (const std::uint8_t minor : kMinors) {
        CAPTURE(minor);
        const Layout layout = layout_of(minor);
        Heap heap(layout);
        const std::pair<std::u32string, std::string> cases[] = {
            {U"", ""},
            {U"name", "name"},
            {U"é", "\xc3\xa9"},
            {U"日本", "\xe6\x97\xa5\xe6\x9c\xac"},
            {U"a😀", "a\xf0\x9f\x98\x80"},
            // Lone surrogates, and two that look like a pair but are two code points of a str.
            {{0xd800, U'x'}, "\xed\xa0\x80x"},
            {{0xd83d, 0xde00}, "\xed\xa0\xbd\xed\xb8\x80"},
            {std::u32string(3000, U'é'),
             [] {
                 std::string text;
                 for (int i = 0; i < 3000; ++i) text += "\xc3\xa9";
                 return text;
             }()},
        };
        for (const auto& [units, expected] : cases) {
            const auto text = read_str(heap.memory, layout, heap.str(units), 3000);
            REQUIRE(text);
            CHECK(*text == expected);
        }
        CHECK(read_str(heap.memory, layout, heap.str_with_data(U"sub", 1, true), 10).value() ==
              "sub");
        CHECK(read_str(heap.memory, layout, heap.str_with_data(U"日", 2, false), 10).value() ==
              "\xe6\x97\xa5");
        CHECK(read_str(heap.memory, layout, heap.str_with_data(U"", 1, true), 10).value() == "");
    }
}

TEST_CASE("a str is cut at the length asked for") {
    const Layout layout = layout_of(13);
    Heap heap(layout);
    const RemoteAddr str = heap.str(U"éabc");
    const auto prefix = read_str_prefix(heap.memory, layout, str, 2);
    REQUIRE(prefix);
    CHECK(prefix->text ==
          "\xc3\xa9"
          "a");
    CHECK(prefix->length == 4);
    CHECK_FALSE(prefix->complete);
    CHECK(code_of(read_str(heap.memory, layout, str, 3)) == ErrorCode::kCorruptData);
    CHECK(read_str(heap.memory, layout, str, 4));
}

TEST_CASE("many strs cost two reads, and a bad one costs only itself") {
    const Layout layout = layout_of(11);
    Heap heap(layout);
    const std::vector<RemoteAddr> strs{heap.str("short"), RemoteAddr{8},
                                       heap.str(std::string(5000, 'x'))};
    const std::size_t before = heap.memory.calls();
    const auto prefixes = read_str_prefixes(heap.memory, layout, strs, 5000);
    CHECK(heap.memory.calls() - before == 2);
    CHECK(prefixes[0]->text == "short");
    CHECK(code_of(prefixes[1]) == ErrorCode::kReadFault);
    CHECK(prefixes[2]->text == std::string(5000, 'x'));
}

TEST_CASE("impossible strs are refused") {
    const Layout layout = layout_of(10);
    Heap heap(layout);
    const RemoteAddr str = heap.str("abc");
    const auto code_with = [&](std::uint64_t length, unsigned kind, bool ascii, bool compact) {
        heap.put_str_head(str, length, kind, ascii, compact);
        return code_of(read_str(heap.memory, layout, str, 1000));
    };
    CHECK(code_with(3, 0, false, false) ==
          ErrorCode::kCorruptData);  // A legacy str that is not ready.
    CHECK(code_with(3, 3, false, true) == ErrorCode::kCorruptData);
    CHECK(code_with(3, 2, true, true) == ErrorCode::kCorruptData);
    CHECK(code_with(UINT64_MAX, 1, true, true) == ErrorCode::kCorruptData);
    CHECK(code_with(INT64_MAX, 4, false, true) == ErrorCode::kCorruptData);
    CHECK(code_with(500, 1, true, true) == ErrorCode::kReadFault);
    const RemoteAddr beyond = heap.str(std::u32string{U'a', 0x110000});
    CHECK(code_of(read_str(heap.memory, layout, beyond, 1000)) == ErrorCode::kCorruptData);
}

TEST_CASE("bytes and tuples") {
    const Layout layout = layout_of(14);
    Heap heap(layout);
    const auto& bytes_fields = layout.bytes_object;
    const RemoteAddr bytes = heap.memory.allocate(*bytes_fields.ob_sval + 4);
    heap.memory.put(bytes + *bytes_fields.ob_size, std::int64_t{3});
    heap.memory.put_text(bytes + *bytes_fields.ob_sval, "abc");
    CHECK(read_bytes_object(heap.memory, layout, bytes, 3)->size() == 3);
    CHECK(code_of(read_bytes_object(heap.memory, layout, bytes, 2)) == ErrorCode::kCorruptData);
    const auto prefix = read_bytes_prefix(heap.memory, layout, bytes, 2);
    CHECK(prefix->bytes.size() == 2);
    CHECK(prefix->size == 3);
    heap.memory.put(bytes + *bytes_fields.ob_size, std::int64_t{-1});
    CHECK(code_of(read_bytes_prefix(heap.memory, layout, bytes, 9)) == ErrorCode::kCorruptData);

    const auto& tuple_fields = layout.tuple_object;
    const RemoteAddr tuple = heap.memory.allocate(*tuple_fields.ob_item + 16);
    heap.memory.put(tuple + *tuple_fields.ob_size, std::int64_t{2});
    heap.memory.put(tuple + *tuple_fields.ob_item + 8, RemoteAddr{7});
    CHECK(*read_tuple_items(heap.memory, layout, tuple, 9) == std::vector<RemoteAddr>{{}, {7}});
    CHECK(read_tuple_items(heap.memory, layout, tuple, 1)->size() == 1);
    heap.memory.put(tuple + *tuple_fields.ob_size, std::numeric_limits<std::int64_t>::max());
    CHECK(code_of(read_tuple_items(heap.memory, layout, tuple, 100)) == ErrorCode::kReadFault);
}

TEST_CASE("ints that fit, and those that do not") {
    constexpr std::uint32_t kFull = (1u << 30) - 1;
    for (const std::uint8_t minor : kMinors) {
        CAPTURE(minor);
        const Layout layout = layout_of(minor);
        Heap heap(layout);
        const auto value = [&](bool negative, const std::vector<std::uint32_t>& digits) {
            return read_int64(heap.memory, layout, heap.integer(negative, digits)).value();
        };
        CHECK(value(false, {}) == 0);
        CHECK(value(false, {5}) == 5);
        CHECK(value(true, {5}) == -5);
        CHECK(value(false, {0, 1}) == std::int64_t{1} << 30);
        CHECK(value(false, {kFull, kFull, 7}) == std::numeric_limits<std::int64_t>::max());
        CHECK(value(true, {0, 0, 8}) == std::numeric_limits<std::int64_t>::min());
        CHECK_FALSE(value(false, {0, 0, 8}));
        CHECK_FALSE(value(true, {1, 0, 8}));
        CHECK_FALSE(value(false, {0, 0, 16}));
        CHECK_FALSE(value(false, {1, 1, 1, 1}));
        CHECK(code_of(read_int64(heap.memory, layout, heap.integer(false, {1u << 30}))) ==
              ErrorCode::kCorruptData);
    }
}

TEST_CASE("types") {
    const Layout layout = layout_of(12);
    Heap heap(layout);
    const RemoteAddr type = heap.type(TypeFlags::kUnicode, 16, 0, {});
    const RemoteAddr name = heap.memory.allocate(5);
    heap.memory.put_text(name, "Name");
    heap.memory.put(type + *layout.type_object.tp_name, name);
    const RemoteAddr object = heap.instance(type, 0).object;
    CHECK(read_type(heap.memory, layout, object) == type);
    CHECK(read_type_name(heap.memory, layout, object) == "Name");
    CHECK((read_type_flags(heap.memory, layout, type).value() & TypeFlags::kUnicode) != 0);
    heap.memory.put(type + *layout.type_object.tp_name, RemoteAddr{1});
    CHECK(code_of(read_type_name(heap.memory, layout, object)) == ErrorCode::kReadFault);
}

TEST_CASE("a layout that lacks the members is refused") {
    const Layout empty;
    pystack::testing::FakeMemory memory;
    const RemoteAddr object = memory.allocate(64);
    constexpr auto kRejected = ErrorCode::kOffsetsRejected;
    CHECK(code_of(read_str(memory, empty, object, 10)) == kRejected);
    CHECK(code_of(read_bytes_object(memory, empty, object, 10)) == kRejected);
    CHECK(code_of(read_bytes_prefix(memory, empty, object, 10)) == kRejected);
    CHECK(code_of(read_int64(memory, empty, object)) == kRejected);
    CHECK(code_of(read_type(memory, empty, object)) == kRejected);
    CHECK(code_of(read_type_flags(memory, empty, object)) == kRejected);
    CHECK(code_of(read_type_name(memory, empty, object)) == kRejected);
    CHECK(code_of(read_tuple_items(memory, empty, object, 10)) == kRejected);
}
