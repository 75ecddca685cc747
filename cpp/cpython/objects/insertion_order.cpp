#include "cpython/objects/insertion_order.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace pystack::cpython {

namespace {

/// Keys are shared up to SHARED_KEYS_MAX_SIZE, 30 [pycore_dict.h].
constexpr std::size_t kMaxShared = 64;
constexpr std::uint64_t kPointerBytes = 8;

/// The indices of the values in the order in which they were set; empty where nothing tells.
std::vector<std::size_t> read_order(const memory::MemoryReader& reader, const Layout& layout,
                                    RemoteAddr values) {
    std::array<std::byte, kMaxShared> bytes;
    std::size_t size = 0;
    std::vector<std::size_t> order;
    switch (layout.instance_dict) {
        case InstanceDict::kDictOffset:
            return {};
        case InstanceDict::kValuesBefore:
        case InstanceDict::kTaggedBefore: {
            // Before the values, downwards: the length of all this, the number, the indices
            // [_PyDictValues_AddToInsertionOrder, Include/internal/pycore_dict.h].
            const RemoteAddr begin = values - kMaxShared;
            const std::size_t done = reader.read_up_to(begin, bytes);
            if (done != bytes.size()) return {};
            std::ranges::reverse(bytes);
            size = std::to_integer<std::size_t>(bytes[1]);
            if (size + 2 > bytes.size()) return {};
            for (std::size_t i = 0; i < size; ++i)
                order.push_back(std::to_integer<std::size_t>(bytes[2 + i]));
            return order;
        }
        case InstanceDict::kInlineValues:
            break;
    }
    // Behind all the values there is room for [get_insertion_order_array].
    const auto& fields = layout.dict_values;
    if (!fields.capacity || !fields.size || !fields.values) return {};
    const RemoteAddr head = values - *fields.values;
    const auto capacity = reader.read_value<std::uint8_t>(head + *fields.capacity);
    const auto count = reader.read_value<std::uint8_t>(head + *fields.size);
    if (!capacity || !count || *count > *capacity || *count > bytes.size()) return {};
    if (!reader.read(values + *capacity * kPointerBytes, std::span(bytes).first(*count))) return {};
    for (std::size_t i = 0; i < *count; ++i)
        order.push_back(std::to_integer<std::size_t>(bytes[i]));
    return order;
}

}  // namespace

void sort_by_insertion(const memory::MemoryReader& reader, const Layout& layout,
                       const DictTable& table, std::vector<DictItem>& items) {
    if (!table.values || items.size() < 2 || items.size() > kMaxShared) return;
    const auto order = read_order(reader, layout, table.values);
    if (order.size() != items.size()) return;
    std::vector<RemoteAddr> values(1 + *std::ranges::max_element(order));
    if (!reader.read(table.values, std::as_writable_bytes(std::span(values)))) return;
    // The items are those whose value is set, by index.
    std::vector<std::size_t> item_at(values.size(), items.size());
    std::size_t next = 0;
    for (std::size_t i = 0; i < values.size(); ++i) {
        if (values[i]) item_at[i] = next++;
    }
    if (next != items.size()) return;
    std::vector<DictItem> sorted;
    for (const std::size_t index : order) {
        if (item_at[index] == items.size()) return;
        sorted.push_back(items[item_at[index]]);
    }
    items = std::move(sorted);
}

}  // namespace pystack::cpython
