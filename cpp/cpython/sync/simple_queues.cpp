#include "cpython/sync/simple_queues.h"

#include <algorithm>
#include <array>
#include <cstdint>

#include "cpython/sync/bound_methods.h"
#include "cpython/sync/parking.h"

namespace pystack::cpython {

namespace {

constexpr std::uint64_t kWordBytes = 8;

/// Items that lie behind each other in a ring.
struct Ring {
    RemoteAddr items;
    std::uint64_t room = 0;
    std::uint64_t first = 0;
    std::uint64_t count = 0;
};

/// Modules/_queuemodule.c: up to 3.12, a queue has a lock, a flag, a list, and the place of the
/// first item in it; then a flag and a ring: where to put, where to get, items, room, count.
std::optional<Ring> ring_of(const memory::MemoryReader& memory, const Layout& layout,
                            TypeCache& types, RemoteAddr queue) {
    std::array<std::uint64_t, 6> words{};
    const RemoteAddr first = queue + layout.pyobject.struct_size;
    if (!memory.read(first, std::as_writable_bytes(std::span(words)))) return std::nullopt;
    const RemoteAddr list{words[2]};
    const auto type = list ? types.of(list) : fail(Error{});
    if (!type || (*type)->kind != ValueKind::kList) {
        return Ring{.items = {words[3]}, .room = words[4], .first = words[2], .count = words[5]};
    }
    const auto& fields = layout.list_object;
    if (!fields.ob_size || !fields.ob_item) return std::nullopt;
    const auto size = memory.read_value<std::uint64_t>(list + *fields.ob_size);
    const auto items = memory.read_pointer(list + *fields.ob_item);
    if (!size || !items || words[3] > *size) return std::nullopt;
    return Ring{.items = *items, .room = *size, .first = words[3], .count = *size - words[3]};
}

}  // namespace

RemoteAddr waited_simple_queue(const memory::MemoryReader& memory, const Layout& layout,
                               TypeCache& types, RemoteAddr futex,
                               std::span<const RemoteAddr> objects) {
    if (layout.pyobject.struct_size == 0) return {};
    for (const RemoteAddr object : objects) {
        const RemoteAddr queue = self_or_object(memory, layout, types, object);
        const auto type = queue ? types.of(queue) : fail(Error{});
        if (!type || (*type)->kind != ValueKind::kSimpleQueue) continue;
        // Behind its head it has a pointer to a semaphore (up to 3.12), or the flag that its
        // waiters are parked at [Modules/_queuemodule.c].
        const RemoteAddr first = queue + layout.pyobject.struct_size;
        const auto semaphore = memory.read_pointer(first);
        if (semaphore && *semaphore == futex) return queue;
        const auto parked = parked_at(memory, futex);
        if (parked && *parked == first) return queue;
    }
    return {};
}

std::vector<RemoteAddr> simple_queue_items(const memory::MemoryReader& memory, const Layout& layout,
                                           TypeCache& types, RemoteAddr queue, std::size_t most) {
    std::vector<RemoteAddr> items;
    if (layout.pyobject.struct_size == 0) return items;
    const auto ring = ring_of(memory, layout, types, queue);
    if (!ring || ring->first > ring->room || ring->count > ring->room) return items;
    for (std::uint64_t i = 0; i < std::min<std::uint64_t>(ring->count, most); ++i) {
        const auto item =
            memory.read_pointer(ring->items + (ring->first + i) % ring->room * kWordBytes);
        if (!item) break;
        items.push_back(*item);
    }
    return items;
}

}  // namespace pystack::cpython
