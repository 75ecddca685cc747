#pragma once

#include <utility>
#include <vector>

#include "cpython/layout/layout.h"
#include "cpython/objects/dict_objects.h"
#include "memory/memory_reader.h"

namespace pystack::cpython {

using DictItem = std::pair<RemoteAddr, RemoteAddr>;

/// Puts all the items of a table, as for_each_table_item gives them, into the order in which they
/// were set. That is another one than the table's only where the keys are shared and the values are
/// not (3.11+): these have their order noted beside them. Items stay as they are where it makes no
/// sense.
void sort_by_insertion(const memory::MemoryReader& reader, const Layout& layout,
                       const DictTable& table, std::vector<DictItem>& items);

}  // namespace pystack::cpython
