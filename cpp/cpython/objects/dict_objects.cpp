#include "cpython/objects/dict_objects.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "base/pages.h"
#include "memory/remote_struct.h"

namespace pystack::cpython {

namespace {

using memory::MemoryReader;
using memory::ReadRequest;
using memory::RemoteStruct;

using Lookup = Result<std::optional<RemoteAddr>>;

constexpr std::uint64_t kPointerBytes = 8;
// {hash, key, value}, and without the hash where all keys are str (3.11+).
constexpr std::uint64_t kGeneralEntryBytes = 24;
constexpr std::uint64_t kUnicodeEntryBytes = 16;

// Far above any sys.modules and any namespace; above it a search fails rather than to read on and
// on.
constexpr std::uint64_t kMaxSearchedEntries = 1u << 17;
constexpr std::uint64_t kMaxLog2Size = 40;

Error absent_field(const char* what) {
    return Error{.code = ErrorCode::kOffsetsRejected, .what = what};
}

/// PyDictKeysObject: where its entries are.
struct Keys {
    RemoteAddr entries;
    std::uint64_t count = 0;
    std::uint64_t entry_bytes = kGeneralEntryBytes;

    std::uint64_t key_offset() const { return entry_bytes - 2 * kPointerBytes; }
};

struct Entry {
    RemoteAddr key;
    RemoteAddr value;  ///< Of combined tables.
};

Result<void> check_fields(const Layout& layout) {
    const auto& keys = layout.dict_keys;
    const bool kind_known = layout.dict_format == DictFormat::kSlots
                                ? keys.dk_size.has_value()
                                : keys.dk_log2_size && keys.dk_log2_index_bytes && keys.dk_kind;
    if (!kind_known || !keys.dk_nentries || !keys.dk_indices)
        return fail(absent_field("dict_keys"));
    const auto& strs = layout.unicode_object;
    if (!strs.state || !strs.length || !strs.asciiobject_size) {
        return fail(absent_field("unicode_object"));
    }
    return {};
}

Result<Keys> decode_keys(const Layout& layout, const RemoteStruct& head) {
    const auto& fields = layout.dict_keys;
    const auto count = head.get<std::int64_t>(*fields.dk_nentries);
    if (!count) return fail(read_fault(head.address(), *fields.dk_indices));
    Keys keys;
    std::uint64_t slots = 0;
    std::uint64_t index_bytes = 0;
    if (layout.dict_format == DictFormat::kSlots) {
        slots = head.get<std::uint64_t>(*fields.dk_size).value_or(0);
        if (!std::has_single_bit(slots) || slots > (std::uint64_t{1} << kMaxLog2Size)) {
            return fail(corrupt("dict keys", head.address()));
        }
        const std::uint64_t width = slots <= 0xff         ? 1
                                    : slots <= 0xffff     ? 2
                                    : slots <= 0xffffffff ? 4
                                                          : 8;
        index_bytes = slots * width;
    } else {
        const auto log2_size = head.get<std::uint8_t>(*fields.dk_log2_size).value_or(0xff);
        const auto log2_bytes = head.get<std::uint8_t>(*fields.dk_log2_index_bytes).value_or(0xff);
        const auto kind = head.get<std::uint8_t>(*fields.dk_kind).value_or(0xff);
        // 0 general, 1 all keys are str, 2 the same and split [Include/internal/pycore_dict.h].
        if (log2_size > kMaxLog2Size || log2_bytes > log2_size + 3 || kind > 2) {
            return fail(corrupt("dict keys", head.address()));
        }
        slots = std::uint64_t{1} << log2_size;
        index_bytes = std::uint64_t{1} << log2_bytes;
        if (kind != 0) keys.entry_bytes = kUnicodeEntryBytes;
    }
    if (*count < 0 || static_cast<std::uint64_t>(*count) > slots) {
        return fail(corrupt("dict keys", head.address()));
    }
    keys.count = static_cast<std::uint64_t>(*count);
    keys.entries = head.address() + *fields.dk_indices + index_bytes;
    return keys;
}

// Below 3.13 split values are a bare array; from then on they have a head.
std::uint64_t split_values_offset(const Layout& layout) {
    return layout.dict_values.values ? *layout.dict_values.values : 0;
}

std::vector<Result<Keys>> read_keys(const MemoryReader& reader, const Layout& layout,
                                    std::span<const RemoteAddr> addresses) {
    const std::size_t head_bytes = *layout.dict_keys.dk_indices;
    std::vector<std::byte> heads(addresses.size() * head_bytes);
    std::vector<ReadRequest> requests;
    for (std::size_t i = 0; i < addresses.size(); ++i) {
        requests.push_back({addresses[i], std::span(heads).subspan(i * head_bytes, head_bytes)});
    }
    reader.read_many(requests);
    std::vector<Result<Keys>> keys;
    for (const ReadRequest& request : requests) {
        const auto head = request.destination.first(request.done);
        keys.push_back(decode_keys(layout, RemoteStruct(request.address, head)));
    }
    return keys;
}

Entry entry_at(const Keys& keys, std::span<const std::byte> entries, std::uint64_t index) {
    const RemoteStruct bytes(keys.entries, entries);
    const std::uint64_t offset = index * keys.entry_bytes + keys.key_offset();
    return {.key = bytes.pointer(offset).value_or(RemoteAddr{}),
            .value = bytes.pointer(offset + kPointerBytes).value_or(RemoteAddr{})};
}

/// Which of `keys` are the str `name`. Only compact ASCII strings can be.
///
/// There may be a thousand (sys.modules), scattered over the heap, and a target may be waiting for
/// us: a piece of a batched read costs the kernel about as much as copying a page, so neighbours
/// share one.
std::unordered_set<RemoteAddr> matching_keys(const MemoryReader& reader, const Layout& layout,
                                             std::vector<RemoteAddr> keys, std::string_view name) {
    const auto& fields = layout.unicode_object;
    const std::uint64_t key_bytes = *fields.asciiobject_size + name.size();
    std::sort(keys.begin(), keys.end());
    keys.erase(std::unique(keys.begin(), keys.end()), keys.end());

    struct Piece {
        RemoteAddr begin;
        std::uint64_t size;
        std::size_t first_key;
        std::size_t place;
    };
    std::vector<Piece> pieces;
    std::size_t total = 0;
    for (std::size_t i = 0; i < keys.size(); ++i) {
        if (keys[i].value > UINT64_MAX - key_bytes)
            break;  // Sorted: the rest is no address either.
        if (!pieces.empty()) {
            Piece& last = pieces.back();
            const std::uint64_t size = keys[i] - last.begin + key_bytes;
            if (keys[i].value / kPageSize == last.begin.value / kPageSize) {
                total += size - last.size;
                last.size = size;
                continue;
            }
        }
        pieces.push_back({keys[i], key_bytes, i, total});
        total += key_bytes;
    }
    std::vector<std::byte> buffer(total);
    std::vector<ReadRequest> requests;
    requests.reserve(pieces.size());
    for (const Piece& piece : pieces) {
        requests.push_back({piece.begin, std::span(buffer).subspan(piece.place, piece.size)});
    }
    reader.read_many(requests);

    std::unordered_set<RemoteAddr> matches;
    for (std::size_t p = 0; p < pieces.size(); ++p) {
        const std::size_t next_first =
            p + 1 < pieces.size() ? pieces[p + 1].first_key : keys.size();
        const auto read = requests[p].destination.first(requests[p].done);
        for (std::size_t key = pieces[p].first_key; key < next_first; ++key) {
            const std::uint64_t offset = keys[key] - pieces[p].begin;
            if (offset > read.size() || read.size() - offset < key_bytes) continue;
            const RemoteStruct str(keys[key], read.subspan(offset, key_bytes));
            const auto state = str.get<std::uint32_t>(*fields.state);
            const auto length = str.get<std::uint64_t>(*fields.length);
            if (!state || !length || *length != name.size()) continue;
            const bool compact = ((*state >> layout.unicode_state.compact_shift) & 1) != 0;
            const bool ascii = ((*state >> layout.unicode_state.ascii_shift) & 1) != 0;
            const auto text = str.bytes().subspan(*fields.asciiobject_size);
            if (compact && ascii && std::memcmp(text.data(), name.data(), name.size()) == 0) {
                matches.insert(keys[key]);
            }
        }
    }
    return matches;
}

Result<void> check_name(std::string_view name) {
    constexpr std::size_t kMaxNameBytes = 1024;
    const auto is_ascii = [](char c) { return static_cast<unsigned char>(c) < 0x80; };
    if (name.size() > kMaxNameBytes || !std::all_of(name.begin(), name.end(), is_ascii)) {
        return fail(Error{.code = ErrorCode::kInvalidArgument, .what = "name to look up"});
    }
    return {};
}

/// The entries of one PyDictKeysObject, and what a search found in it.
struct SearchedKeys {
    Result<Keys> keys;
    std::vector<std::byte> entries;
    std::optional<std::uint64_t> index;
    RemoteAddr value;
};

/// Reads the entries of all of them and searches them for `name`.
std::vector<SearchedKeys> search_keys(const MemoryReader& reader, const Layout& layout,
                                      std::span<const RemoteAddr> addresses,
                                      std::string_view name) {
    std::vector<SearchedKeys> searched;
    std::uint64_t total = 0;
    for (Result<Keys>& keys : read_keys(reader, layout, addresses)) {
        if (keys && keys->count > kMaxSearchedEntries - total) {
            keys = fail(corrupt("size of a dict", keys->entries));
        }
        if (keys) total += keys->count;
        searched.push_back({.keys = std::move(keys), .entries = {}, .index = {}, .value = {}});
    }
    std::vector<ReadRequest> requests;
    for (SearchedKeys& one : searched) {
        if (one.keys) one.entries.resize(one.keys->count * one.keys->entry_bytes);
        requests.push_back({one.keys ? one.keys->entries : RemoteAddr{}, one.entries});
    }
    reader.read_many(requests);

    std::vector<RemoteAddr> key_objects;
    for (std::size_t i = 0; i < searched.size(); ++i) {
        SearchedKeys& one = searched[i];
        if (!one.keys) continue;
        if (!requests[i].complete()) {
            one.keys = fail(read_fault(requests[i].address + requests[i].done,
                                       requests[i].destination.size() - requests[i].done));
            continue;
        }
        for (std::uint64_t k = 0; k < one.keys->count; ++k) {
            const Entry entry = entry_at(*one.keys, one.entries, k);
            if (entry.key) key_objects.push_back(entry.key);
        }
    }
    const auto matches = matching_keys(reader, layout, std::move(key_objects), name);
    for (SearchedKeys& one : searched) {
        if (!one.keys || matches.empty()) continue;
        for (std::uint64_t k = 0; k < one.keys->count && !one.index; ++k) {
            const Entry entry = entry_at(*one.keys, one.entries, k);
            if (!matches.contains(entry.key)) continue;
            one.index = k;
            one.value = entry.value;
        }
    }
    return searched;
}

}  // namespace

std::vector<Result<DictTable>> read_dict_tables(const MemoryReader& reader, const Layout& layout,
                                                std::span<const RemoteAddr> dicts) {
    const auto& fields = layout.dict_object;
    if (!fields.ma_keys || !fields.ma_values) {
        return std::vector<Result<DictTable>>(dicts.size(), fail(absent_field("dict_object")));
    }
    const std::size_t head_bytes = std::max(*fields.ma_keys, *fields.ma_values) + kPointerBytes;
    std::vector<std::byte> heads(dicts.size() * head_bytes);
    std::vector<ReadRequest> requests;
    for (std::size_t i = 0; i < dicts.size(); ++i) {
        requests.push_back({dicts[i], std::span(heads).subspan(i * head_bytes, head_bytes)});
    }
    reader.read_many(requests);
    std::vector<Result<DictTable>> tables;
    for (const ReadRequest& request : requests) {
        const RemoteStruct head(request.address, request.destination);
        if (!request.complete()) {
            tables.push_back(fail(read_fault(request.address + request.done, head_bytes)));
            continue;
        }
        DictTable table{*head.pointer(*fields.ma_keys), *head.pointer(*fields.ma_values)};
        if (table.values) table.values = table.values + split_values_offset(layout);
        tables.push_back(table);
    }
    return tables;
}

std::vector<Lookup> find_in_tables(const MemoryReader& reader, const Layout& layout,
                                   std::span<const DictTable> tables, std::string_view name) {
    auto possible = check_name(name);
    if (possible) possible = check_fields(layout);
    if (!possible) return std::vector<Lookup>(tables.size(), fail(possible.error()));

    std::vector<RemoteAddr> addresses;
    std::unordered_map<RemoteAddr, std::size_t> place_of;
    for (const DictTable& table : tables) {
        if (place_of.try_emplace(table.keys, addresses.size()).second) {
            addresses.push_back(table.keys);
        }
    }
    const auto searched = search_keys(reader, layout, addresses, name);

    std::vector<Lookup> lookups(tables.size());
    std::vector<RemoteAddr> values(tables.size());
    std::vector<ReadRequest> requests;
    std::vector<std::size_t> owners;
    for (std::size_t i = 0; i < tables.size(); ++i) {
        const SearchedKeys& one = searched[place_of[tables[i].keys]];
        if (!one.keys) {
            lookups[i] = fail(one.keys.error());
        } else if (one.index && tables[i].values) {
            requests.push_back({tables[i].values + *one.index * kPointerBytes,
                                std::as_writable_bytes(std::span(&values[i], 1))});
            owners.push_back(i);
        } else if (one.index && one.value) {
            lookups[i] = one.value;
        }
    }
    reader.read_many(requests);
    for (std::size_t k = 0; k < requests.size(); ++k) {
        const std::size_t i = owners[k];
        if (!requests[k].complete()) {
            lookups[i] = fail(read_fault(requests[k].address, kPointerBytes));
        } else if (values[i]) {
            lookups[i] = values[i];
        }
    }
    return lookups;
}

Lookup dict_lookup_str(const MemoryReader& reader, const Layout& layout, RemoteAddr dict,
                       std::string_view name) {
    const auto tables = read_dict_tables(reader, layout, std::span(&dict, 1));
    if (!tables.front()) return fail(tables.front().error());
    return std::move(find_in_tables(reader, layout, std::span(&*tables.front(), 1), name).front());
}

Result<void> for_each_dict_item(const MemoryReader& reader, const Layout& layout, RemoteAddr dict,
                                std::size_t max_items, const DictItemCallback& callback) {
    const auto tables = read_dict_tables(reader, layout, std::span(&dict, 1));
    if (!tables.front()) return fail(tables.front().error());
    return for_each_table_item(reader, layout, *tables.front(), max_items, callback);
}

Result<void> for_each_table_item(const MemoryReader& reader, const Layout& layout,
                                 const DictTable& table, std::size_t max_items,
                                 const DictItemCallback& callback) {
    // Deleted entries count for nothing, so the entries are read in parts until there are enough
    // items.
    constexpr std::uint64_t kPartEntries = 1024;
    PYSTACK_CHECK(check_fields(layout));
    const auto heads = read_keys(reader, layout, std::span(&table.keys, 1));
    if (!heads.front()) return fail(heads.front().error());
    const Keys& keys = *heads.front();

    std::vector<std::byte> entries;
    std::vector<RemoteAddr> values;
    std::size_t items = 0;
    const std::uint64_t end = std::min(keys.count, kMaxSearchedEntries);
    for (std::uint64_t first = 0; first < end && items < max_items; first += kPartEntries) {
        const std::uint64_t count = std::min(kPartEntries, end - first);
        entries.resize(count * keys.entry_bytes);
        values.resize(table.values ? count : 0);
        std::array<ReadRequest, 2> requests{
            ReadRequest{keys.entries + first * keys.entry_bytes, entries},
            ReadRequest{table.values + first * kPointerBytes,
                        std::as_writable_bytes(std::span(values))}};
        reader.read_many(std::span(requests).first(table.values ? 2 : 1));
        for (const ReadRequest& request : requests) {
            if (!request.complete()) {
                return fail(read_fault(request.address + request.done,
                                       request.destination.size() - request.done));
            }
        }
        for (std::uint64_t i = 0; i < count && items < max_items; ++i) {
            const Entry entry = entry_at(keys, entries, i);
            const RemoteAddr value = table.values ? values[i] : entry.value;
            if (!entry.key || !value) continue;
            ++items;
            if (!callback(entry.key, value)) return {};
        }
    }
    return {};
}

}  // namespace pystack::cpython
