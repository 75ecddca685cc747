#include "cpython/objects/set_objects.h"

#include <algorithm>
#include <cstdint>
#include <vector>

#include "cpython/objects/objects.h"
#include "memory/remote_struct.h"

namespace pystack::cpython {

namespace {

constexpr std::uint64_t kWordBytes = 8;
/// setentry {PyObject *key; Py_hash_t hash} [Include/cpython/setobject.h].
constexpr std::uint64_t kEntryBytes = 16;
constexpr std::uint64_t kEntriesAtOnce = 4096;

}  // namespace

Result<void> for_each_set_item(const memory::MemoryReader& reader, const Layout& layout,
                               RemoteAddr set, std::size_t max_entries,
                               const SetItemCallback& callback) {
    const auto& fields = layout.set_object;
    if (!fields.mask || !fields.table)
        return fail(Error{.code = ErrorCode::kOffsetsRejected, .what = "set_object"});
    PYSTACK_TRY(mask, reader.read_value<std::uint64_t>(set + *fields.mask));
    PYSTACK_TRY(table, reader.read_pointer(set + *fields.table));
    if (mask >= max_entries) return fail(corrupt("set", set));
    const std::uint64_t end = mask + 1;
    std::vector<std::byte> part;
    for (std::uint64_t first = 0; first < end; first += kEntriesAtOnce) {
        const std::uint64_t count = std::min(kEntriesAtOnce, end - first);
        part.resize(count * kEntryBytes);
        const RemoteAddr begin = table + first * kEntryBytes;
        PYSTACK_CHECK(reader.read(begin, part));
        const memory::RemoteStruct entries(begin, part);
        for (std::uint64_t i = 0; i < count; ++i) {
            const auto key = *entries.pointer(i * kEntryBytes);
            const auto hash = *entries.get<std::int64_t>(i * kEntryBytes + kWordBytes);
            // Removed entries keep a dummy key with a hash that no object has.
            if (key && hash != -1 && !callback(key)) return {};
        }
    }
    return {};
}

}  // namespace pystack::cpython
