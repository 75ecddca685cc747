#pragma once

#include <cstddef>
#include <functional>

#include "base/address.h"
#include "base/result.h"
#include "cpython/layout/layout.h"
#include "memory/memory_reader.h"

namespace pystack::cpython {

/// Gets one item; false ends the iteration.
using SetItemCallback = std::function<bool(RemoteAddr item)>;

/// The items of a set or frozenset, in the order of its table. kCorruptData if the table has more
/// than `max_entries`, free ones among them. The caller knows that it is a set.
Result<void> for_each_set_item(const memory::MemoryReader& reader, const Layout& layout,
                               RemoteAddr set, std::size_t max_entries,
                               const SetItemCallback& callback);

}  // namespace pystack::cpython
