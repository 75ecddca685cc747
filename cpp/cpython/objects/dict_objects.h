#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "base/address.h"
#include "base/result.h"
#include "cpython/layout/layout.h"
#include "memory/memory_reader.h"

namespace pystack::cpython {

/// Gets the key and the value of one item; false ends the iteration.
using DictItemCallback = std::function<bool(RemoteAddr key, RemoteAddr value)>;

/// The items of a dict of any kind, in the order of its table: that of insertion, except for split
/// ones. At most `max_items` are given, and none behind the first 131,072 entries. As elsewhere,
/// the caller knows that it is a dict.
Result<void> for_each_dict_item(const memory::MemoryReader& reader, const Layout& layout,
                                RemoteAddr dict, std::size_t max_items,
                                const DictItemCallback& callback);

/// The value of the key `name`; nullopt when there is none. `name` is ASCII: others are
/// kInvalidArgument. No hash can be computed from outside, so all keys are compared, in batches.
Result<std::optional<RemoteAddr>> dict_lookup_str(const memory::MemoryReader& reader,
                                                  const Layout& layout, RemoteAddr dict,
                                                  std::string_view name);

/// A dict without its head. Instances without a dict have one of these all the same: the keys of
/// their class and values of their own.
struct DictTable {
    RemoteAddr keys;    ///< PyDictKeysObject.
    RemoteAddr values;  ///< The array of a split table's values; null when they are in the entries.
};

/// Of many dicts with one system call.
std::vector<Result<DictTable>> read_dict_tables(const memory::MemoryReader& reader,
                                                const Layout& layout,
                                                std::span<const RemoteAddr> dicts);

/// dict_lookup_str in many tables, with about as many system calls as in one.
std::vector<Result<std::optional<RemoteAddr>>> find_in_tables(const memory::MemoryReader& reader,
                                                              const Layout& layout,
                                                              std::span<const DictTable> tables,
                                                              std::string_view name);

Result<void> for_each_table_item(const memory::MemoryReader& reader, const Layout& layout,
                                 const DictTable& table, std::size_t max_items,
                                 const DictItemCallback& callback);

}  // namespace pystack::cpython
