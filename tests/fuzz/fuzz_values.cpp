// Renders the values of a heap that is the input: pieces of memory, each with its address.

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "cpython/layout/layout_table.h"
#include "cpython/values/value_renderer.h"
#include "driver.h"
#include "support/bytes.h"
#include "support/presentable.h"
#include "support/value_heap.h"

using namespace pystack;
using namespace pystack::cpython;

namespace {

using testing::append;

/// Minor versions, and whether they are free-threaded.
constexpr std::array<std::pair<std::uint8_t, bool>, 12> kVersions = {{{6, false},
                                                                      {7, false},
                                                                      {8, false},
                                                                      {9, false},
                                                                      {10, false},
                                                                      {11, false},
                                                                      {12, false},
                                                                      {13, false},
                                                                      {14, false},
                                                                      {15, false},
                                                                      {13, true},
                                                                      {15, true}}};

// An input: the index of a version and the number of roots (a byte each), the roots (four bytes
// each); then pieces of memory: the address (four bytes), the size (two), the bytes.
constexpr std::size_t kMaxRoots = 32;

Layout layout_at(std::uint8_t index) {
    const auto [minor, free_threaded] = kVersions[index % kVersions.size()];
    const auto layout = static_layout({.major = 3, .minor = minor}, free_threaded, false);
    if (!layout) std::abort();
    return *layout;
}

/// Some of everything that the renderer knows.
fuzz::Bytes heap_of(std::uint8_t index) {
    const Layout layout = layout_at(index);
    testing::ValueHeap heap(layout);
    const RemoteAddr one = heap.number(1);
    const RemoteAddr text = heap.typed_str("some text");
    const RemoteAddr list = heap.list({one, text, heap.real(1.5), heap.none()});
    const RemoteAddr object = heap.object("Thing", {{heap.typed_str("x"), list}});
    const RemoteAddr dict = heap.typed_dict({{text, object}, {one, heap.set({one, text}, 8)}});
    const RemoteAddr subclass =
        heap.object("Words", {{heap.typed_str("y"), one}}, heap.builtin("list"));
    const RemoteAddr all = heap.tuple({dict, object, subclass, heap.slice(one, text, list),
                                       heap.cell(heap.number(1LL << 40)),
                                       heap.typed_str(std::u32string(U"\u00e4\u20ac\U0001f600"))});
    std::vector<RemoteAddr> roots{all, dict};
    for (const char* type : {"collections.deque",
                             "datetime.datetime",
                             "datetime.timedelta",
                             "numpy.ndarray",
                             "BaseException",
                             "bytes",
                             "bytearray",
                             "function",
                             "method",
                             "builtin_function_or_method",
                             "generator",
                             "coroutine",
                             "module",
                             "code",
                             "range",
                             "complex",
                             "array.array",
                             "memoryview",
                             "collections.OrderedDict",
                             "mappingproxy",
                             "decimal.Decimal",
                             "type"}) {
        const RemoteAddr odd = heap.memory.allocate(96);
        heap.memory.put(odd + 16, std::uint64_t{2});
        heap.memory.put(odd + 24, one);
        heap.memory.put(odd + 32, text);
        heap.memory.put(odd + 40, dict);
        roots.push_back(heap.typed(odd, type));
    }
    fuzz::Bytes bytes;
    append(bytes, index);
    append(bytes, static_cast<std::uint8_t>(roots.size()));
    for (const RemoteAddr root : roots) append(bytes, static_cast<std::uint32_t>(root.value));
    heap.memory.for_each([&](RemoteAddr address, std::span<const std::byte> piece) {
        append(bytes, static_cast<std::uint32_t>(address.value));
        append(bytes, static_cast<std::uint16_t>(piece.size()));
        bytes.insert(bytes.end(), piece.begin(), piece.end());
    });
    return bytes;
}

}  // namespace

void fuzz::run(std::span<const std::byte> bytes) {
    Input input(bytes);
    const Layout layout = layout_at(input.take<std::uint8_t>());
    std::vector<RemoteAddr> roots(input.take<std::uint8_t>() % (kMaxRoots + 1));
    for (RemoteAddr& root : roots) root.value = input.take<std::uint32_t>();
    testing::FakeMemory memory;
    while (!input.rest().empty()) {
        const RemoteAddr address{input.take<std::uint32_t>()};
        const auto piece = input.take_bytes(input.take<std::uint16_t>());
        memory.add(address, {piece.begin(), piece.end()});
    }
    ValueRenderer renderer(memory, layout, {.max_items = 5, .max_string = 50, .max_bytes = 50'000});
    for (const RemoteAddr root : roots) {
        renderer.begin();
        const std::string shown = renderer.render(root);
        constexpr std::size_t kLongest = 2'000'000;
        if (!testing::is_presentable(shown) || shown.size() > kLongest) std::abort();
        if (const auto variable = renderer.render_variable(root)) {
            if (!testing::is_presentable(variable->value)) std::abort();
            if (variable->type_name && !testing::is_presentable(*variable->type_name)) std::abort();
        }
    }
}

std::vector<fuzz::Bytes> fuzz::seeds() {
    std::vector<Bytes> seeds;
    for (std::uint8_t i = 0; i < kVersions.size(); ++i) seeds.push_back(heap_of(i));
    return seeds;
}
