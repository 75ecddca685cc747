#include "cpython/objects/dict_objects.h"

#include <doctest/doctest.h>

#include <cstdlib>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "cpython/objects/instance_attributes.h"
#include "cpython/objects/objects.h"
#include "support/fake_heap.h"
#include "support/hostile_memory.h"

using namespace pystack;
using namespace pystack::cpython;
using pystack::testing::FakeMemory;
using pystack::testing::HostileMemory;
using pystack::testing::kMinors;
using pystack::testing::layout_of;
using Heap = pystack::testing::FakeHeap;

namespace {

RemoteAddr found(const Result<std::optional<RemoteAddr>>& lookup) {
    REQUIRE(lookup);
    return lookup->value_or(RemoteAddr{});
}

ErrorCode code_of(const auto& result) {
    REQUIRE_FALSE(result);
    return result.error().code;
}

}  // namespace

TEST_CASE("dicts of every kind") {
    for (const std::uint8_t minor : kMinors) {
        CAPTURE(minor);
        const Layout layout = layout_of(minor);
        Heap heap(layout);
        // A deleted item, and a key whose text begins like the one looked for.
        const Heap::Items items{{heap.str("first"), {0x101}},
                                {{}, {}},
                                {heap.str("namely"), {0x102}},
                                {heap.str(U"näme"), {0x103}},
                                {heap.str("name"), {0x104}}};
        for (const auto kind : {Heap::Kind::kGeneral, Heap::Kind::kUnicode, Heap::Kind::kSplit}) {
            const RemoteAddr dict = heap.dict(items, kind);
            CHECK(found(dict_lookup_str(heap.memory, layout, dict, "name")) == RemoteAddr{0x104});
            CHECK_FALSE(found(dict_lookup_str(heap.memory, layout, dict, "nam")));
            CHECK_FALSE(found(dict_lookup_str(heap.memory, layout, dict, "")));
            std::vector<std::uint64_t> values;
            const auto collect = [&](RemoteAddr, RemoteAddr value) {
                values.push_back(value.value);
                return values.size() < 3;
            };
            REQUIRE(for_each_dict_item(heap.memory, layout, dict, 100, collect));
            CHECK(values == std::vector<std::uint64_t>{0x101, 0x102, 0x103});
            values.clear();
            REQUIRE(for_each_dict_item(heap.memory, layout, dict, 2, collect));
            CHECK(values.size() == 2);
        }
        const RemoteAddr empty = heap.dict({});
        CHECK_FALSE(found(dict_lookup_str(heap.memory, layout, empty, "name")));
        CHECK(code_of(dict_lookup_str(heap.memory, layout, empty, "n\xc3\xa4me")) ==
              ErrorCode::kInvalidArgument);
    }
}

TEST_CASE("a large dict is searched with few reads") {
    for (const std::uint8_t minor : {std::uint8_t{8}, std::uint8_t{13}}) {
        const Layout layout = layout_of(minor);
        Heap heap(layout);
        Heap::Items items;
        for (std::uint64_t i = 0; i < 3000; ++i)
            items.push_back({heap.str("k" + std::to_string(i)), {i + 1}});
        const RemoteAddr dict = heap.dict_of(heap.keys(items, Heap::Kind::kUnicode, 13));
        const std::size_t before = heap.memory.calls();
        CHECK(found(dict_lookup_str(heap.memory, layout, dict, "k2999")) == RemoteAddr{3000});
        CHECK(heap.memory.calls() - before <= 6);
        std::size_t count = 0;
        REQUIRE(for_each_dict_item(
            heap.memory, layout, dict, 1u << 20,
            [&](RemoteAddr, RemoteAddr value) { return value.value == ++count; }));
        CHECK(count == 3000);
    }
}

TEST_CASE("impossible dicts are refused") {
    for (const std::uint8_t minor : {std::uint8_t{9}, std::uint8_t{12}}) {
        const Layout layout = layout_of(minor);
        Heap heap(layout);
        const RemoteAddr keys = heap.keys({{heap.str("name"), {1}}}, Heap::Kind::kUnicode);
        const RemoteAddr dict = heap.dict_of(keys);
        const auto& fields = layout.dict_keys;
        for (const std::int64_t count :
             {std::int64_t{-1}, std::int64_t{9}, std::numeric_limits<std::int64_t>::max()}) {
            heap.memory.put(keys + *fields.dk_nentries, count);
            CHECK(code_of(dict_lookup_str(heap.memory, layout, dict, "name")) ==
                  ErrorCode::kCorruptData);
        }
        // More entries than are there, and more than are ever read.
        heap.memory.put(keys + *fields.dk_nentries, std::int64_t{5});
        CHECK(code_of(dict_lookup_str(heap.memory, layout, dict, "name")) == ErrorCode::kReadFault);
        if (minor == 9) {
            heap.memory.put(keys + *fields.dk_size, std::uint64_t{1} << 39);
        } else {
            heap.memory.put(keys + *fields.dk_log2_size, std::uint8_t{39});
        }
        heap.memory.put(keys + *fields.dk_nentries, std::int64_t{1} << 38);
        CHECK(code_of(dict_lookup_str(heap.memory, layout, dict, "name")) ==
              ErrorCode::kCorruptData);
        CHECK(code_of(dict_lookup_str(heap.memory, layout, RemoteAddr{8}, "name")) ==
              ErrorCode::kReadFault);
        CHECK(code_of(dict_lookup_str(heap.memory, layout, heap.dict_of({}), "name")) ==
              ErrorCode::kReadFault);
    }
}

TEST_CASE("attributes of instances, wherever they are") {
    for (const std::uint8_t minor : kMinors) {
        for (const bool free_threaded : {false, true}) {
            if (free_threaded && minor < 13) continue;
            CAPTURE(minor);
            CAPTURE(free_threaded);
            const Layout layout = layout_of(minor, free_threaded);
            Heap heap(layout);
            const Heap::Items items{
                {heap.str("first"), {0x11}}, {heap.str("_name"), {0x12}}, {heap.str("unset"), {}}};
            const RemoteAddr keys = heap.keys(items, Heap::Kind::kSplit);
            const RemoteAddr type = heap.plain_type(keys);
            const auto attribute = [&](RemoteAddr object, const char* name) {
                return found(instance_attribute(heap.memory, layout, object, name));
            };

            const RemoteAddr plain = heap.plain_instance(type, keys, items);
            CHECK(attribute(plain, "first") == RemoteAddr{0x11});
            CHECK(attribute(plain, "_name") == RemoteAddr{0x12});
            CHECK_FALSE(attribute(plain, "unset"));
            CHECK_FALSE(attribute(plain, "other"));

            // A dict of its own, and one that does not exist yet.
            const auto with_dict = heap.instance(type, items.size());
            heap.memory.put(with_dict.dict_word, heap.dict({{heap.str("_name"), {0x22}}}));
            CHECK(attribute(with_dict.object, "_name") == RemoteAddr{0x22});
            const auto without = heap.instance(type, items.size());
            CHECK_FALSE(attribute(without.object, "_name"));
            const auto slots_only = heap.instance(heap.type(0, 32, 0, {}), 0);
            CHECK_FALSE(attribute(slots_only.object, "_name"));

            // Behind the items of an int subclass: two digits round up to one word.
            const auto basic = static_cast<std::int64_t>(layout.pyobject.struct_size + 8);
            const RemoteAddr var_type = heap.type(0, basic + 8, -8, {});
            heap.memory.put(var_type + *layout.type_object.tp_itemsize, std::int64_t{4});
            const auto var = heap.instance(var_type, 8);
            heap.memory.put(var.object + *layout.pyobject.ob_size, std::int64_t{-2});
            heap.memory.put(var.object + static_cast<std::uint64_t>(basic) + 8,
                            heap.dict({{heap.str("_name"), {0x33}}}));
            CHECK(attribute(var.object, "_name") == RemoteAddr{0x33});

            const std::vector<RemoteAddr> objects{plain, RemoteAddr{8}, with_dict.object,
                                                  without.object};
            const auto attributes = instance_attributes(heap.memory, layout, objects, "_name");
            CHECK(found(attributes[0]) == RemoteAddr{0x12});
            CHECK(code_of(attributes[1]) == ErrorCode::kReadFault);
            CHECK(found(attributes[2]) == RemoteAddr{0x22});
            CHECK_FALSE(found(attributes[3]));
        }
    }
}

TEST_CASE("a layout that lacks the members is refused") {
    const Layout empty;
    FakeMemory memory;
    const RemoteAddr object = memory.allocate(64);
    const auto none = [](RemoteAddr, RemoteAddr) { return true; };
    constexpr auto kRejected = ErrorCode::kOffsetsRejected;
    CHECK(code_of(dict_lookup_str(memory, empty, object, "name")) == kRejected);
    CHECK(code_of(for_each_dict_item(memory, empty, object, 10, none)) == kRejected);
    CHECK(code_of(instance_attribute(memory, empty, object, "name")) == kRejected);
    CHECK(code_of(module_dict(memory, empty, object)) == kRejected);
    CHECK(memory.calls() == 0);
}

TEST_CASE("hostile memory ends every reader") {
    const char* rounds = std::getenv("PYSTACK_FUZZ_ROUNDS");
    std::mt19937_64 random(7);
    for (const std::uint8_t minor : kMinors) {
        const Layout layout = layout_of(minor);
        for (int round = rounds != nullptr ? std::atoi(rounds) / 1000 : 100; round > 0; --round) {
            const HostileMemory memory(random());
            const RemoteAddr object{0x100000 + random() % 65536 * 8};
            (void)read_str(memory, layout, object, 10000);
            (void)read_bytes_object(memory, layout, object, 10000);
            (void)read_int64(memory, layout, object);
            (void)read_type_name(memory, layout, object);
            (void)read_tuple_items(memory, layout, object, 1000);
            (void)dict_lookup_str(memory, layout, object, "name");
            (void)for_each_dict_item(memory, layout, object, 1000,
                                     [](RemoteAddr, RemoteAddr) { return true; });
            (void)instance_attribute(memory, layout, object, "name");
            // The ends of the address space.
            for (const std::uint64_t edge :
                 {std::uint64_t{0}, ~std::uint64_t{0}, ~std::uint64_t{0} - 7}) {
                (void)read_str(memory, layout, RemoteAddr{edge}, 10000);
                (void)dict_lookup_str(memory, layout, RemoteAddr{edge}, "name");
                (void)instance_attribute(memory, layout, RemoteAddr{edge}, "name");
            }
        }
    }
}

TEST_CASE("cyclic pointers end") {
    for (const std::uint8_t minor : kMinors) {
        const Layout layout = layout_of(minor);
        FakeMemory memory;
        const RemoteAddr start = add_cycle(memory);
        (void)dict_lookup_str(memory, layout, start, "name");
        (void)instance_attribute(memory, layout, start, "name");
        CHECK(memory.calls() < 100);
    }
}
