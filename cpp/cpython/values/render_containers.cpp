#include "cpython/values/render_containers.h"

#include <array>

#include "cpython/objects/dict_objects.h"
#include "cpython/objects/insertion_order.h"
#include "cpython/objects/objects.h"
#include "cpython/values/render_instances.h"
#include "cpython/values/render_redacted.h"

namespace pystack::cpython {

namespace {

constexpr std::uint64_t kPointerBytes = 8;
/// setentry {PyObject *key; Py_hash_t hash} [Include/cpython/setobject.h].
constexpr std::uint64_t kSetEntryBytes = 16;
/// A set that once was large has a large table with little in it; beyond this nothing is looked
/// for.
constexpr std::uint64_t kMaxSetEntries = 1 << 16;
constexpr std::uint64_t kSetPartEntries = 256;
/// block {leftlink; data[64]; rightlink} [Modules/_collectionsmodule.c].
constexpr std::uint64_t kDequeBlockItems = 64;

/// How a container begins and ends.
struct Brackets {
    std::string_view open;
    std::string_view close;
};

/// The items of a sequence or set that will be shown, and how many there are.
struct Items {
    std::uint64_t total = 0;
    std::vector<RemoteAddr> shown;
    bool in_order = true;  ///< The first one may be the name of the second.
};

void append_items(Rendering& r, const Items& items, const Brackets& brackets) {
    r.out += brackets.open;
    append_items(r, items.total, items.shown, items.in_order);
    r.out += brackets.close;
}

Result<Items> tuple_items(Rendering& r, const Value& value) {
    const auto& fields = r.layout.tuple_object;
    PYSTACK_TRY(size, r.field<std::int64_t>(value, fields.ob_size));
    if (size < 0 || !fields.ob_item) return fail(corrupt("tuple", value.address));
    const auto total = static_cast<std::uint64_t>(size);
    PYSTACK_TRY(shown, r.item_array(value.address + *fields.ob_item, total));
    return Items{.total = total, .shown = std::move(shown)};
}

Result<Items> list_items(Rendering& r, const Value& value) {
    const auto& fields = r.layout.list_object;
    PYSTACK_TRY(size, r.field<std::int64_t>(value, fields.ob_size));
    if (size < 0) return fail(corrupt("list", value.address));
    PYSTACK_TRY(array, r.pointer(value, fields.ob_item));
    const auto total = static_cast<std::uint64_t>(size);
    PYSTACK_TRY(shown, r.item_array(array, total));
    return Items{.total = total, .shown = std::move(shown)};
}

Result<Items> set_items(Rendering& r, const Value& value) {
    const auto& fields = r.layout.set_object;
    PYSTACK_TRY(used, r.field<std::int64_t>(value, fields.used));
    PYSTACK_TRY(mask, r.field<std::int64_t>(value, fields.mask));
    PYSTACK_TRY(table, r.pointer(value, fields.table));
    if (used < 0 || mask < 0 || used - 1 > mask) return fail(corrupt("set", value.address));
    Items items{.total = static_cast<std::uint64_t>(used), .in_order = false};
    const std::size_t wanted = r.shown_of(items.total);
    const std::uint64_t end =
        std::min<std::uint64_t>(static_cast<std::uint64_t>(mask) + 1, kMaxSetEntries);
    std::vector<std::byte> part;
    for (std::uint64_t first = 0; first < end && items.shown.size() < wanted;
         first += kSetPartEntries) {
        const std::uint64_t count = std::min(kSetPartEntries, end - first);
        part.resize(count * kSetEntryBytes);
        const RemoteAddr begin = table + first * kSetEntryBytes;
        PYSTACK_CHECK(r.heap.read(begin, part));
        r.charge(part.size());
        const memory::RemoteStruct entries(begin, part);
        for (std::uint64_t i = 0; i < count && items.shown.size() < wanted; ++i) {
            const auto key = *entries.pointer(i * kSetEntryBytes);
            const auto hash = *entries.get<std::int64_t>(i * kSetEntryBytes + kPointerBytes);
            // Removed entries keep a dummy key with a hash that no object has.
            if (key && hash != -1) items.shown.push_back(key);
        }
    }
    r.heap.fetch(items.shown);
    return items;
}

Result<Items> deque_items(Rendering& r, const Value& value) {
    const auto& fields = r.layout.deque_object;
    PYSTACK_TRY(size, r.field<std::int64_t>(value, fields.ob_size));
    PYSTACK_TRY(block, r.pointer(value, fields.leftblock));
    PYSTACK_TRY(left, r.field<std::int64_t>(value, fields.leftindex));
    if (size < 0 || left < 0 || static_cast<std::uint64_t>(left) > kDequeBlockItems) {
        return fail(corrupt("deque", value.address));
    }
    Items items{.total = static_cast<std::uint64_t>(size)};
    const std::size_t wanted = r.shown_of(items.total);
    auto index = static_cast<std::uint64_t>(left);
    while (items.shown.size() < wanted) {
        if (index == kDequeBlockItems) {
            PYSTACK_TRY(next, r.heap.read_pointer(block + (1 + kDequeBlockItems) * kPointerBytes));
            block = next;
            index = 0;
        }
        PYSTACK_TRY(item, r.heap.read_pointer(block + (1 + index) * kPointerBytes));
        items.shown.push_back(item);
        ++index;
    }
    r.charge(items.shown.size() * kPointerBytes);
    r.heap.fetch(items.shown);
    return items;
}

/// The names of a namedtuple in front of its items.
void append_named(Rendering& r, const Items& items, const std::vector<std::string>& names) {
    Entries entries(r, items.total);
    for (std::size_t i = 0; i < items.shown.size(); ++i) {
        if (!entries.next()) break;
        r.out += names[i];
        r.out += '=';
        r.named_value(names[i], items.shown[i]);
    }
    entries.finish();
}

Result<void> append_tuple(Rendering& r, const Value& value) {
    PYSTACK_TRY(items, tuple_items(r, value));
    const bool single = items.total == 1 && items.shown.size() == 1;
    append_items(r, items, {"(", single ? ",)" : ")"});
    return {};
}

Result<void> append_sequence(Rendering& r, const Value& value) {
    switch (value.type.kind) {
        case ValueKind::kTuple:
            return append_tuple(r, value);
        case ValueKind::kList: {
            PYSTACK_TRY(items, list_items(r, value));
            append_items(r, items, {"[", "]"});
            return {};
        }
        case ValueKind::kDeque: {
            PYSTACK_TRY(items, deque_items(r, value));
            append_items(r, items, {"[", "]"});
            PYSTACK_TRY(limit, r.field<std::int64_t>(value, r.layout.deque_object.maxlen));
            if (limit >= 0) r.out += ", maxlen=" + std::to_string(limit);
            return {};
        }
        default: {
            PYSTACK_TRY(items, set_items(r, value));
            if (items.total > 0) append_items(r, items, {"{", "}"});
            return {};
        }
    }
}

/// The first `wanted` items.
Result<std::vector<DictItem>> dict_items(Rendering& r, RemoteAddr dict, std::size_t wanted) {
    std::vector<DictItem> items;
    if (wanted == 0) return items;
    const auto tables = read_dict_tables(r.heap, r.layout, std::span(&dict, 1));
    if (!tables.front()) return fail(tables.front().error());
    const DictTable& table = *tables.front();
    // All of those whose order has to be found out; they are few.
    constexpr std::size_t kMaxShared = 64;
    const std::size_t limit = table.values ? std::max(wanted, kMaxShared) : wanted;
    PYSTACK_CHECK(for_each_table_item(r.heap, r.layout, table, limit,
                                      [&items](RemoteAddr key, RemoteAddr value) {
                                          items.emplace_back(key, value);
                                          return true;
                                      }));
    sort_by_insertion(r.heap, r.layout, table, items);
    if (items.size() > wanted) items.resize(wanted);
    return items;
}

enum class DictPart : std::uint8_t { kItems, kKeys, kValues, kPairs };

Result<void> append_dict(Rendering& r, RemoteAddr dict, const Brackets& brackets, DictPart part) {
    const auto& fields = r.layout.dict_object;
    if (!fields.ma_used) return fail(corrupt("dict", dict));
    PYSTACK_TRY(used, r.heap.read_value<std::int64_t>(dict + *fields.ma_used));
    if (used < 0) return fail(corrupt("dict", dict));
    const auto total = static_cast<std::uint64_t>(used);
    PYSTACK_TRY(items, dict_items(r, dict, r.shown_of(total)));
    std::vector<RemoteAddr> objects;
    for (const auto& [key, value] : items) objects.insert(objects.end(), {key, value});
    r.charge(objects.size() * kPointerBytes);
    r.heap.fetch(objects);
    r.out += brackets.open;
    Entries entries(r, total);
    for (const auto& [key, value] : items) {
        if (!entries.next()) break;
        if (part == DictPart::kPairs) r.out += '(';
        if (part != DictPart::kValues) r.value(key);
        if (part == DictPart::kItems) r.out += ": ";
        if (part == DictPart::kPairs) r.out += ", ";
        if (part != DictPart::kKeys) append_value_of_key(r, key, value);
        if (part == DictPart::kPairs) r.out += ')';
    }
    entries.finish();
    r.out += brackets.close;
    return {};
}

/// The dict behind a view or proxy: the first member behind the head of the object
/// [_PyDictViewObject, Include/cpython/dictobject.h; mappingproxyobject, Objects/descrobject.c].
Result<void> render_view(Rendering& r, const Value& value, const Brackets& brackets,
                         DictPart part) {
    PYSTACK_TRY(dict, r.heap.read_pointer(value.address + r.layout.pyobject.struct_size));
    PYSTACK_TRY(type, r.types.of(dict));
    switch (type->kind) {
        case ValueKind::kDict:
        case ValueKind::kFrozenDict:
        case ValueKind::kOrderedDict:
        case ValueKind::kDefaultDict:
            break;
        default:
            append_address_form(r, value);
            return {};
    }
    const Nesting nesting(r, value.address);
    r.out += value.type.name;
    if (nesting.cycle()) {
        r.out += "(...)";
        return {};
    }
    return append_dict(r, dict, brackets, part);
}

/// What is in front of the items: nothing for those that have brackets of their own.
std::string constructor(const Value& value, bool empty) {
    if (!value.type.exact) return value.type.qualname;
    switch (value.type.kind) {
        case ValueKind::kTuple:
        case ValueKind::kList:
        case ValueKind::kDict:
            return {};
        case ValueKind::kSet:
            return empty ? "set" : std::string();
        default:
            return value.type.name;
    }
}

Result<bool> is_empty_set(Rendering& r, const Value& value) {
    if (value.type.kind != ValueKind::kSet && value.type.kind != ValueKind::kFrozenSet)
        return false;
    PYSTACK_TRY(used, r.field<std::int64_t>(value, r.layout.set_object.used));
    return used == 0;
}

void append_cycle(Rendering& r, const Value& value) {
    if (!value.type.exact) {
        r.out += value.type.qualname + "(...)";
        return;
    }
    switch (value.type.kind) {
        case ValueKind::kList:
            r.out += "[...]";
            return;
        case ValueKind::kTuple:
            r.out += "(...)";
            return;
        case ValueKind::kDict:
            r.out += "{...}";
            return;
        default:
            r.out += value.type.name + "(...)";
    }
}

Result<void> append_content(Rendering& r, const Value& value) {
    switch (value.type.kind) {
        case ValueKind::kDefaultDict: {
            // defdictobject {PyDictObject dict; PyObject *default_factory}
            // [Modules/_collectionsmodule.c].
            PYSTACK_TRY(factory,
                        r.heap.read_pointer(value.address + r.layout.dict_object.struct_size));
            if (factory) {
                r.value(factory);
            } else {
                r.out += "None";
            }
            r.out += ", ";
            return append_dict(r, value.address, {"{", "}"}, DictPart::kItems);
        }
        case ValueKind::kOrderedDict: {
            PYSTACK_TRY(used, r.field<std::int64_t>(value, r.layout.dict_object.ma_used));
            if (used == 0) return {};
            return append_dict(r, value.address, {"{", "}"}, DictPart::kItems);
        }
        case ValueKind::kDict:
        case ValueKind::kFrozenDict:
            return append_dict(r, value.address, {"{", "}"}, DictPart::kItems);
        default:
            return append_sequence(r, value);
    }
}

Result<void> render_namedtuple(Rendering& r, const Value& value,
                               const std::vector<std::string>& names) {
    PYSTACK_TRY(items, tuple_items(r, value));
    if (items.total != names.size()) return fail(corrupt("namedtuple", value.address));
    r.out += value.type.name;
    r.out += '(';
    append_named(r, items, names);
    r.out += ')';
    return {};
}

Result<void> render_range(Rendering& r, const Value& value) {
    const auto& fields = r.layout.range_object;
    PYSTACK_TRY(start, r.pointer(value, fields.start));
    PYSTACK_TRY(stop, r.pointer(value, fields.stop));
    PYSTACK_TRY(step, r.pointer(value, fields.step));
    r.out += "range(";
    r.value(start);
    r.out += ", ";
    r.value(stop);
    const auto step_value = read_int64(r.heap, r.layout, step);
    if (!step_value || *step_value != 1) {
        r.out += ", ";
        r.value(step);
    }
    r.out += ')';
    return {};
}

Result<void> render_slice(Rendering& r, const Value& value) {
    const auto& fields = r.layout.slice_object;
    PYSTACK_TRY(start, r.pointer(value, fields.start));
    PYSTACK_TRY(stop, r.pointer(value, fields.stop));
    PYSTACK_TRY(step, r.pointer(value, fields.step));
    r.out += "slice(";
    r.value(start);
    r.out += ", ";
    r.value(stop);
    r.out += ", ";
    r.value(step);
    r.out += ')';
    return {};
}

}  // namespace

Result<void> render_container(Rendering& r, const Value& value) {
    switch (value.type.kind) {
        case ValueKind::kRange:
            return render_range(r, value);
        case ValueKind::kSlice:
            return render_slice(r, value);
        case ValueKind::kMappingProxy:
            return render_view(r, value, {"({", "})"}, DictPart::kItems);
        case ValueKind::kDictKeys:
            return render_view(r, value, {"([", "])"}, DictPart::kKeys);
        case ValueKind::kDictValues:
            return render_view(r, value, {"([", "])"}, DictPart::kValues);
        case ValueKind::kDictItems:
            return render_view(r, value, {"([", "])"}, DictPart::kPairs);
        default:
            break;
    }
    const Nesting nesting(r, value.address);
    if (nesting.cycle()) {
        append_cycle(r, value);
        return {};
    }
    if (value.type.kind == ValueKind::kTuple && !value.type.exact) {
        if (const auto* names = r.types.named_fields(value.type)) {
            return render_namedtuple(r, value, *names);
        }
    }
    PYSTACK_TRY(empty, is_empty_set(r, value));
    const std::string name = constructor(value, empty);
    r.out += name;
    if (name.empty()) return append_content(r, value);
    r.out += '(';
    PYSTACK_CHECK(append_content(r, value));
    if (value.type.heap && !value.type.exact) append_more_attributes(r, value);
    r.out += ')';
    return {};
}

}  // namespace pystack::cpython
