#include "cpython/objects/instance_attributes.h"

#include <algorithm>
#include <unordered_map>

#include "cpython/objects/objects.h"
#include "memory/remote_struct.h"

namespace pystack::cpython {

namespace {

using memory::MemoryReader;
using memory::ReadRequest;
using memory::RemoteStruct;

constexpr std::uint64_t kPointerBytes = 8;

// Words before an object [_PyObject_ManagedDictPointer, Include/internal/pycore_object.h]. Two of
// them are the head of the garbage collector, which free-threaded builds do not have.
constexpr std::uint64_t kDictBefore = 3 * kPointerBytes;
constexpr std::uint64_t kDictBeforeFreeThreaded = 1 * kPointerBytes;
constexpr std::uint64_t kValuesBefore = 4 * kPointerBytes;  // 3.11

// Offsets inside objects come from type objects, which can be anything; no real one is larger.
constexpr std::int64_t kMaxObjectBytes = 1 << 20;

Error absent_field(const char* what) {
    return Error{.code = ErrorCode::kOffsetsRejected, .what = what};
}

/// What a type says about where its instances keep their attributes.
struct TypeFacts {
    RemoteAddr type;
    std::uint64_t flags = 0;
    std::int64_t basic_size = 0;
    std::int64_t item_size = 0;
    std::int64_t dict_offset = 0;
    RemoteAddr cached_keys;

    bool managed_dict() const {
        return (flags & TypeFlags::kManagedDict) != 0 && (flags & TypeFlags::kHeapType) != 0;
    }
    bool inline_values() const { return managed_dict() && (flags & TypeFlags::kInlineValues) != 0; }
};

std::vector<Result<TypeFacts>> read_types(const MemoryReader& reader, const Layout& layout,
                                          std::span<const RemoteAddr> types) {
    const auto& fields = layout.type_object;
    if (!fields.tp_basicsize || !fields.tp_itemsize || !fields.tp_flags || !fields.tp_dictoffset ||
        !fields.ht_cached_keys) {
        return std::vector<Result<TypeFacts>>(types.size(), fail(absent_field("type_object")));
    }
    const std::size_t head_bytes = std::max({*fields.tp_basicsize, *fields.tp_itemsize,
                                             *fields.tp_flags, *fields.tp_dictoffset}) +
                                   kPointerBytes;
    std::vector<std::byte> heads(types.size() * head_bytes);
    std::vector<RemoteAddr> cached_keys(types.size());
    std::vector<ReadRequest> requests;
    for (std::size_t i = 0; i < types.size(); ++i) {
        requests.push_back({types[i], std::span(heads).subspan(i * head_bytes, head_bytes)});
        // Static types end before it: what is read there is not used.
        requests.push_back({types[i] + *fields.ht_cached_keys,
                            std::as_writable_bytes(std::span(&cached_keys[i], 1))});
    }
    reader.read_many(requests);
    std::vector<Result<TypeFacts>> facts;
    for (std::size_t i = 0; i < types.size(); ++i) {
        if (!requests[2 * i].complete()) {
            facts.push_back(fail(read_fault(types[i], head_bytes)));
            continue;
        }
        const RemoteStruct head(types[i], requests[2 * i].destination);
        const TypeFacts type{.type = types[i],
                             .flags = *head.get<std::uint64_t>(*fields.tp_flags),
                             .basic_size = *head.get<std::int64_t>(*fields.tp_basicsize),
                             .item_size = *head.get<std::int64_t>(*fields.tp_itemsize),
                             .dict_offset = *head.get<std::int64_t>(*fields.tp_dictoffset),
                             .cached_keys = cached_keys[i]};
        if (type.basic_size < 0 || type.basic_size > kMaxObjectBytes ||
            type.dict_offset > kMaxObjectBytes || type.dict_offset < -kMaxObjectBytes) {
            facts.push_back(fail(corrupt("type", types[i])));
        } else {
            facts.push_back(type);
        }
    }
    return facts;
}

/// The words to read of one object, and then what they hold.
struct Place {
    Result<TypeFacts> type;
    RemoteAddr dict_word{};  ///< Where the dict pointer is (3.12: the tagged word); null for none.
    RemoteAddr
        values_word{};  ///< 3.11: where the values pointer is. 3.13+: the head of inline values.
    std::uint64_t dict = 0;
    std::uint64_t values = 0;
};

// ob_size counts items below zero too, as the sign of an int [PyObject_GetDictPtr,
// Objects/object.c].
Result<RemoteAddr> dict_behind_items(const MemoryReader& reader, const Layout& layout,
                                     const TypeFacts& type, RemoteAddr object) {
    if (!layout.pyobject.ob_size) return fail(absent_field("pyobject.ob_size"));
    PYSTACK_TRY(size, reader.read_value<std::int64_t>(object + *layout.pyobject.ob_size));
    std::uint64_t items =
        size < 0 ? -static_cast<std::uint64_t>(size) : static_cast<std::uint64_t>(size);
    const auto item_bytes = static_cast<std::uint64_t>(type.item_size);
    if (type.item_size < 0 || type.item_size > kMaxObjectBytes || items > UINT32_MAX) {
        return fail(corrupt("size of an object", object));
    }
    const std::uint64_t end = static_cast<std::uint64_t>(type.basic_size) + items * item_bytes;
    const std::uint64_t rounded = (end + kPointerBytes - 1) / kPointerBytes * kPointerBytes;
    return object + rounded - static_cast<std::uint64_t>(-type.dict_offset);
}

Result<void> locate(const MemoryReader& reader, const Layout& layout, RemoteAddr object,
                    Place& place) {
    const TypeFacts& type = *place.type;
    if (layout.instance_dict != InstanceDict::kDictOffset && type.managed_dict()) {
        place.dict_word = object - (layout.free_threaded ? kDictBeforeFreeThreaded : kDictBefore);
        if (layout.instance_dict == InstanceDict::kValuesBefore) {
            place.values_word = object - kValuesBefore;
        } else if (layout.instance_dict == InstanceDict::kInlineValues && type.inline_values()) {
            if (!layout.dict_values.valid || !layout.dict_values.values) {
                return fail(absent_field("dict_values"));
            }
            place.values_word = object + static_cast<std::uint64_t>(type.basic_size);
        }
    } else if (type.dict_offset > 0) {
        place.dict_word = object + static_cast<std::uint64_t>(type.dict_offset);
    } else if (type.dict_offset < 0) {
        PYSTACK_TRY(word, dict_behind_items(reader, layout, type, object));
        place.dict_word = word;
    }
    return {};
}

/// The values if they are the place of the attributes now; otherwise the dict is, if there is one.
std::optional<DictTable> own_values(const Layout& layout, const Place& place) {
    const RemoteAddr keys = place.type->cached_keys;
    if (!place.type->managed_dict() || !keys) return std::nullopt;
    switch (layout.instance_dict) {
        case InstanceDict::kDictOffset:
            return std::nullopt;
        case InstanceDict::kValuesBefore:
            if (place.values == 0) return std::nullopt;
            return DictTable{keys, RemoteAddr{place.values}};
        case InstanceDict::kTaggedBefore:
            // The word is the address of the values less one [_PyDictOrValues_GetValues].
            if ((place.dict & 1) == 0) return std::nullopt;
            return DictTable{keys, RemoteAddr{place.dict + 1}};
        case InstanceDict::kInlineValues:
            // Valid until the dict gets keys or values of its own; a dict made before shares them.
            if (!place.values_word || place.values == 0) return std::nullopt;
            return DictTable{keys, place.values_word + *layout.dict_values.values};
    }
    return std::nullopt;
}

std::vector<Place> read_places(const MemoryReader& reader, const Layout& layout,
                               std::span<const RemoteAddr> objects) {
    std::vector<RemoteAddr> types(objects.size());
    std::vector<ReadRequest> requests;
    for (std::size_t i = 0; i < objects.size(); ++i) {
        requests.push_back({objects[i] + *layout.pyobject.ob_type,
                            std::as_writable_bytes(std::span(&types[i], 1))});
    }
    reader.read_many(requests);

    std::vector<RemoteAddr> distinct;
    std::unordered_map<RemoteAddr, std::size_t> place_of;
    for (std::size_t i = 0; i < types.size(); ++i) {
        if (requests[i].complete() && place_of.try_emplace(types[i], distinct.size()).second) {
            distinct.push_back(types[i]);
        }
    }
    const auto facts = read_types(reader, layout, distinct);

    std::vector<Place> places;
    for (std::size_t i = 0; i < objects.size(); ++i) {
        places.push_back({.type = fail(read_fault(requests[i].address, kPointerBytes))});
        if (requests[i].complete()) places[i].type = facts[place_of[types[i]]];
        if (!places[i].type) continue;
        if (auto located = locate(reader, layout, objects[i], places[i]); !located) {
            places[i].type = fail(located.error());
        }
    }

    requests.clear();
    std::vector<std::size_t> owners;
    for (std::size_t i = 0; i < places.size(); ++i) {
        Place& place = places[i];
        if (!place.type) continue;
        if (place.dict_word) {
            requests.push_back(
                {place.dict_word, std::as_writable_bytes(std::span(&place.dict, 1))});
            owners.push_back(i);
        }
        if (place.values_word) {
            const bool inlined = layout.instance_dict == InstanceDict::kInlineValues;
            const RemoteAddr address =
                inlined ? place.values_word + *layout.dict_values.valid : place.values_word;
            requests.push_back({address, std::as_writable_bytes(std::span(&place.values, 1))
                                             .first(inlined ? 1 : kPointerBytes)});
            owners.push_back(i);
        }
    }
    reader.read_many(requests);
    for (std::size_t k = 0; k < requests.size(); ++k) {
        if (requests[k].complete()) continue;
        places[owners[k]].type = fail(read_fault(requests[k].address, kPointerBytes));
    }
    return places;
}

}  // namespace

std::vector<Result<std::optional<DictTable>>> read_attribute_tables(
    const MemoryReader& reader, const Layout& layout, std::span<const RemoteAddr> objects) {
    using Table = Result<std::optional<DictTable>>;
    if (!layout.pyobject.ob_type) {
        return std::vector<Table>(objects.size(), fail(absent_field("pyobject.ob_type")));
    }
    std::vector<Table> tables(objects.size());
    std::vector<RemoteAddr> dicts;
    std::vector<std::size_t> owners;
    const std::vector<Place> places = read_places(reader, layout, objects);
    for (std::size_t i = 0; i < places.size(); ++i) {
        if (!places[i].type) {
            tables[i] = fail(places[i].type.error());
        } else if (auto values = own_values(layout, places[i])) {
            tables[i] = values;
        } else if (places[i].dict != 0) {
            dicts.push_back(RemoteAddr{places[i].dict});
            owners.push_back(i);
        }
    }
    if (dicts.empty()) return tables;
    const auto dict_tables = read_dict_tables(reader, layout, dicts);
    for (std::size_t k = 0; k < dicts.size(); ++k) {
        if (dict_tables[k]) {
            tables[owners[k]] = *dict_tables[k];
        } else {
            tables[owners[k]] = fail(dict_tables[k].error());
        }
    }
    return tables;
}

std::vector<Result<std::optional<RemoteAddr>>> instance_attributes(
    const MemoryReader& reader, const Layout& layout, std::span<const RemoteAddr> objects,
    std::string_view name) {
    std::vector<Result<std::optional<RemoteAddr>>> attributes(objects.size());
    std::vector<DictTable> tables;
    std::vector<std::size_t> owners;
    const auto found = read_attribute_tables(reader, layout, objects);
    for (std::size_t i = 0; i < objects.size(); ++i) {
        if (!found[i]) {
            attributes[i] = fail(found[i].error());
        } else if (*found[i]) {
            tables.push_back(**found[i]);
            owners.push_back(i);
        }
    }
    auto values = find_in_tables(reader, layout, tables, name);
    for (std::size_t k = 0; k < owners.size(); ++k) attributes[owners[k]] = std::move(values[k]);
    return attributes;
}

Result<std::optional<RemoteAddr>> instance_attribute(const MemoryReader& reader,
                                                     const Layout& layout, RemoteAddr object,
                                                     std::string_view name) {
    return std::move(instance_attributes(reader, layout, std::span(&object, 1), name).front());
}

Result<RemoteAddr> module_dict(const MemoryReader& reader, const Layout& layout,
                               RemoteAddr module) {
    // md_dict is the first member behind the object head [Objects/moduleobject.c;
    // pycore_moduleobject.h].
    if (layout.pyobject.struct_size == 0) return fail(absent_field("pyobject.size"));
    PYSTACK_TRY(dict, reader.read_pointer(module + layout.pyobject.struct_size));
    if (!dict) return fail(corrupt("module without a dict", module));
    return dict;
}

Result<std::optional<RemoteAddr>> imported_module_dict(const MemoryReader& reader,
                                                       const Layout& layout, RemoteAddr interpreter,
                                                       std::string_view name) {
    const FieldOffset field = layout.interpreter_state.imports_modules;
    if (!field) {
        return fail(Error{.code = ErrorCode::kOffsetsRejected,
                          .what = "interpreter_state.imports_modules"});
    }
    PYSTACK_TRY(modules, reader.read_pointer(interpreter + *field));
    if (!modules) return std::nullopt;  // An interpreter that is starting or has ended.
    PYSTACK_TRY(module, dict_lookup_str(reader, layout, modules, name));
    if (!module) return std::nullopt;
    PYSTACK_TRY(dict, module_dict(reader, layout, *module));
    return dict;
}

}  // namespace pystack::cpython
