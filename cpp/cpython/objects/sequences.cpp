#include "cpython/objects/sequences.h"

#include <algorithm>
#include <cstdint>

#include "cpython/objects/typed_values.h"

namespace pystack::cpython {

namespace {

constexpr std::uint64_t kWordBytes = 8;
/// A block has a pointer, so many items, and another pointer [Modules/_collectionsmodule.c].
constexpr std::uint64_t kDequeBlockItems = 64;

/// ob_size of the object, or `most` if that is less.
std::size_t count_of(const memory::MemoryReader& memory, RemoteAddr field, std::size_t most) {
    const auto size = memory.read_value<std::int64_t>(field);
    return size && *size > 0 ? std::min<std::uint64_t>(static_cast<std::uint64_t>(*size), most) : 0;
}

}  // namespace

std::vector<RemoteAddr> list_items(const memory::MemoryReader& memory, const Layout& layout,
                                   TypeCache& types, RemoteAddr list, std::size_t most) {
    std::vector<RemoteAddr> items;
    const auto& fields = layout.list_object;
    if (!fields.ob_size || !fields.ob_item || !is_a(types, list, ValueKind::kList)) return items;
    const std::size_t count = count_of(memory, list + *fields.ob_size, most);
    const auto array = memory.read_pointer(list + *fields.ob_item);
    if (!array) return items;
    while (items.size() < count) {
        const auto item = memory.read_pointer(*array + items.size() * kWordBytes);
        if (!item) break;
        items.push_back(*item);
    }
    return items;
}

std::vector<RemoteAddr> deque_items(const memory::MemoryReader& memory, const Layout& layout,
                                    TypeCache& types, RemoteAddr deque, std::size_t most) {
    std::vector<RemoteAddr> items;
    const auto& fields = layout.deque_object;
    if (!fields.ob_size || !fields.leftblock || !fields.leftindex ||
        !is_a(types, deque, ValueKind::kDeque)) {
        return items;
    }
    const std::size_t count = count_of(memory, deque + *fields.ob_size, most);
    auto block = memory.read_pointer(deque + *fields.leftblock);
    auto index = memory.read_value<std::uint64_t>(deque + *fields.leftindex).value_or(UINT64_MAX);
    while (items.size() < count && block && index <= kDequeBlockItems) {
        if (index == kDequeBlockItems) {
            block = memory.read_pointer(*block + (1 + kDequeBlockItems) * kWordBytes);
            index = 0;
            continue;
        }
        const auto item = memory.read_pointer(*block + (1 + index) * kWordBytes);
        if (!item) break;
        items.push_back(*item);
        ++index;
    }
    return items;
}

}  // namespace pystack::cpython
