#include "cpython/objects/value_types.h"

#include <algorithm>
#include <array>

#include "cpython/objects/dict_objects.h"
#include "cpython/objects/known_types.h"
#include "cpython/objects/objects.h"
#include "cpython/objects/repr_strings.h"
#include "memory/remote_struct.h"

namespace pystack::cpython {

namespace {

using memory::RemoteStruct;

constexpr std::size_t kMaxNameBytes = 256;
/// Chains of bases and of metatypes that are longer are rings or worse.
constexpr int kMaxBases = 64;
constexpr std::uint64_t kMaxObjectBytes = 1 << 20;
constexpr std::uint64_t kMaxMembers = 1024;
constexpr std::size_t kMaxFields = 4096;

/// PyMemberDef {const char *name; int type; Py_ssize_t offset; int flags; const char *doc}.
/// A member of __slots__ has the type Py_T_OBJECT_EX [descrobject.h, structmember.h].
constexpr std::uint64_t kMemberBytes = 40;
constexpr std::uint64_t kMemberType = 8;
constexpr std::uint64_t kMemberOffset = 16;
constexpr std::uint64_t kMemberFlags = 24;
constexpr std::int32_t kObjectEx = 16;

Error absent_field(const char* what) {
    return Error{.code = ErrorCode::kOffsetsRejected, .what = what};
}

std::string last_part(const std::string& dotted) {
    const std::size_t dot = dotted.rfind('.');
    return dot == std::string::npos ? dotted : dotted.substr(dot + 1);
}

}  // namespace

bool is_searchable(const memory::MemoryReader& memory, const Layout& layout, RemoteAddr keys) {
    constexpr std::int64_t kMaxEntries = 10'000;
    if (!layout.dict_keys.dk_nentries) return false;
    const auto entries = memory.read_value<std::int64_t>(keys + *layout.dict_keys.dk_nentries);
    return entries && *entries <= kMaxEntries;
}

TypeCache::TypeCache(const memory::MemoryReader& memory, const Layout& layout)
    : memory_(memory), layout_(layout) {}

Result<const TypeInfo*> TypeCache::find(RemoteAddr type) {
    const Entry& known = entry(type, 0);
    if (!known.info) return fail(known.info.error());
    return &*known.info;
}

Result<const TypeInfo*> TypeCache::of(RemoteAddr object) {
    PYSTACK_TRY(type, read_type(memory_, layout_, object));
    return find(type);
}

TypeCache::Entry& TypeCache::entry(RemoteAddr type, int depth) {
    if (const auto known = types_.find(type); known != types_.end()) return known->second;
    // There while its bases are read, so that a ring of bases comes to an end.
    types_.emplace(type, Entry{.info = fail(corrupt("chain of base classes", type))});
    auto info = read(type, depth);
    Entry& made = types_.find(type)->second;
    made.info = std::move(info);
    return made;
}

Result<TypeInfo> TypeCache::read(RemoteAddr type, int depth) {
    if (depth > kMaxBases) return fail(corrupt("chain of base classes", type));
    PYSTACK_TRY(info, read_head(type));
    PYSTACK_CHECK(classify(info, depth));
    return std::move(info);
}

Result<TypeInfo> TypeCache::read_head(RemoteAddr type) {
    const auto& fields = layout_.type_object;
    if (!fields.tp_name || !fields.tp_flags || !fields.tp_basicsize || !fields.tp_base ||
        !fields.tp_dict || !fields.ht_qualname || !layout_.pyobject.ob_type ||
        !layout_.pyobject.ob_size) {
        return fail(absent_field("type_object"));
    }
    PYSTACK_TRY(bytes, memory_.read_bytes(type, fields.struct_size));
    const RemoteStruct head(type, bytes);
    TypeInfo info{.address = type};
    info.flags = head.get<std::uint64_t>(*fields.tp_flags).value_or(0);
    info.heap = (info.flags & TypeFlags::kHeapType) != 0;
    info.basic_size = head.get<std::uint64_t>(*fields.tp_basicsize).value_or(0);
    info.base = head.pointer(*fields.tp_base).value_or(RemoteAddr{});
    info.dict = head.pointer(*fields.tp_dict).value_or(RemoteAddr{});
    info.metatype = head.pointer(*layout_.pyobject.ob_type).value_or(RemoteAddr{});
    if (info.basic_size > kMaxObjectBytes) return fail(corrupt("type", type));
    const RemoteAddr name = head.pointer(*fields.tp_name).value_or(RemoteAddr{});
    PYSTACK_TRY(tp_name, memory_.read_c_string(name, kMaxNameBytes));
    info.tp_name = escaped_name(tp_name);
    info.name = last_part(info.tp_name);
    info.qualname = info.name;
    if (!info.heap) return info;
    const auto members = head.get<std::int64_t>(*layout_.pyobject.ob_size).value_or(0);
    info.own_members = members > 0 ? static_cast<std::uint64_t>(members) : 0;
    PYSTACK_TRY(qualname, memory_.read_pointer(type + *fields.ht_qualname));
    PYSTACK_TRY(text, read_str(memory_, layout_, qualname, kMaxNameBytes));
    info.qualname = escaped_name(text);
    return info;
}

Result<void> TypeCache::classify(TypeInfo& info, int depth) {
    if (const auto kind = kind_of_type(info.tp_name, info.heap)) {
        info.kind = *kind;
        info.exact = true;
        return {};
    }
    if (const auto kind = kind_of_class(info)) {
        info.kind = *kind;
        info.exact = true;
        return {};
    }
    // Members of an enum are instances of a class whose own class is the one below.
    if (info.heap && info.metatype && info.metatype != info.address) {
        const Entry& metatype = entry(info.metatype, depth + 1);
        if (metatype.info && metatype.info->heap) {
            const std::string& name = metatype.info->name;
            const bool named = name == "EnumMeta" || name == "EnumType";
            // A metaclass derived from it says so by the mark that classify() leaves.
            info.is_enum = named || metatype.info->is_enum;
        }
    }
    if (!info.base || info.base == info.address) return {};
    const Entry& base = entry(info.base, depth + 1);
    if (!base.info) return fail(base.info.error());
    info.kind = base.info->kind;
    if (info.kind == ValueKind::kClass && info.heap) {
        const std::string& name = base.info->name;
        if (base.info->heap && (name == "EnumMeta" || name == "EnumType" || base.info->is_enum)) {
            info.is_enum = true;
        }
    }
    return {};
}

std::optional<ValueKind> TypeCache::kind_of_class(const TypeInfo& type) {
    if (!type.heap || !is_known_class_name(type.tp_name)) return std::nullopt;
    const auto module = module_of(type);
    const KnownClass* known = module ? known_class(type.tp_name, *module) : nullptr;
    if (known == nullptr) return std::nullopt;
    return known->kind;
}

std::optional<std::string> TypeCache::module_of(const TypeInfo& type) {
    const auto module = attribute(type, "__module__");
    if (!module) return std::nullopt;
    const auto module_type = of(*module);
    if (!module_type || (*module_type)->kind != ValueKind::kStr) return std::nullopt;
    const auto name = read_str(memory_, layout_, *module, kMaxNameBytes);
    if (!name) return std::nullopt;
    return escaped_name(*name);
}

std::vector<const TypeInfo*> TypeCache::bases(const TypeInfo& type) {
    std::vector<const TypeInfo*> chain{&type};
    while (chain.size() < static_cast<std::size_t>(kMaxBases)) {
        const RemoteAddr next = chain.back()->base;
        if (!next) break;
        const auto base = find(next);
        if (!base) break;
        chain.push_back(*base);
    }
    return chain;
}

std::optional<RemoteAddr> TypeCache::attribute(const TypeInfo& type, std::string_view name) {
    if (!type.heap || !type.dict) return std::nullopt;
    const auto tables = read_dict_tables(memory_, layout_, std::span(&type.dict, 1));
    if (!tables.front() || !is_searchable(memory_, layout_, tables.front()->keys))
        return std::nullopt;
    const auto found = find_in_tables(memory_, layout_, std::span(&*tables.front(), 1), name);
    return found.front().value_or(std::nullopt);
}

const std::string& TypeCache::full_name(const TypeInfo& type) {
    Entry& known = entry(type.address, 0);
    if (known.full_name) return *known.full_name;
    std::string text = type.heap ? type.qualname : type.tp_name;
    if (const auto module = module_of(type); module && *module != "builtins")
        text = *module + "." + text;
    Entry& filled = entry(type.address, 0);
    filled.full_name = std::move(text);
    return *filled.full_name;
}

std::optional<std::vector<std::string>> TypeCache::read_names(RemoteAddr sequence) {
    const auto type = of(sequence);
    if (!type) return std::nullopt;
    std::vector<RemoteAddr> items;
    if ((*type)->kind == ValueKind::kTuple) {
        items = read_tuple_items(memory_, layout_, sequence, kMaxFields).value_or(items);
    } else if ((*type)->kind == ValueKind::kList && layout_.list_object.ob_item) {
        const auto size =
            memory_.read_value<std::uint64_t>(sequence + *layout_.list_object.ob_size).value_or(0);
        const auto array = memory_.read_pointer(sequence + *layout_.list_object.ob_item);
        if (!array || size > kMaxFields) return std::nullopt;
        items.resize(size);
        if (!memory_.read(*array, std::as_writable_bytes(std::span(items)))) return std::nullopt;
    } else {
        return std::nullopt;
    }
    std::vector<std::string> names;
    for (const RemoteAddr item : items) {
        const auto item_type = of(item);
        if (!item_type || (*item_type)->kind != ValueKind::kStr) return std::nullopt;
        const auto name = read_str(memory_, layout_, item, kMaxNameBytes);
        if (!name) return std::nullopt;
        names.push_back(escaped_name(*name));
    }
    return names;
}

const std::vector<std::string>* TypeCache::named_fields(const TypeInfo& type) {
    Entry& known = entry(type.address, 0);
    if (!known.named_fields) {
        std::optional<std::vector<std::string>> names;
        for (const TypeInfo* base : bases(type)) {
            if (!base->heap) break;
            if (const auto fields = attribute(*base, "_fields")) {
                names = read_names(*fields);
                break;
            }
        }
        known.named_fields = std::move(names);
    }
    return *known.named_fields ? &**known.named_fields : nullptr;
}

const std::vector<SlotMember>& TypeCache::slots(const TypeInfo& type) {
    Entry& known = entry(type.address, 0);
    if (!known.slots) {
        std::vector<SlotMember> all;
        const auto chain = bases(type);
        for (auto base = chain.rbegin(); base != chain.rend(); ++base) {
            auto own = read_slots(**base);
            all.insert(all.end(), own.begin(), own.end());
            if (all.size() > kMaxMembers) break;
        }
        known.slots = std::move(all);
    }
    return *known.slots;
}

std::vector<SlotMember> TypeCache::read_slots(const TypeInfo& type) {
    std::vector<SlotMember> members;
    if (!type.heap || type.own_members == 0 || type.own_members > kMaxMembers) return members;
    // Behind the type object, whose size its own class knows [PyHeapType_GET_MEMBERS].
    const auto metatype = find(type.metatype);
    if (!metatype) return members;
    const RemoteAddr array = type.address + (*metatype)->basic_size;
    const auto bytes = memory_.read_bytes(array, type.own_members * kMemberBytes);
    if (!bytes) return members;
    const RemoteStruct table(array, *bytes);
    for (std::uint64_t i = 0; i < type.own_members; ++i) {
        const std::uint64_t member = i * kMemberBytes;
        const auto kind = table.get<std::int32_t>(member + kMemberType);
        const auto offset = table.get<std::uint64_t>(member + kMemberOffset);
        // Members of C types are read-only, most of them; those of __slots__ have no flags.
        if (kind != kObjectEx || table.get<std::int32_t>(member + kMemberFlags) != 0) continue;
        if (!offset || *offset > kMaxObjectBytes) continue;
        const auto name = memory_.read_c_string(*table.pointer(member), kMaxNameBytes);
        if (name) members.push_back({escaped_name(*name), *offset});
    }
    // type_new has sorted them by name.
    if (const auto declared = attribute(type, "__slots__"); declared && members.size() > 1) {
        if (const auto order = read_names(*declared)) {
            std::ranges::stable_sort(members, {}, [&order](const SlotMember& member) {
                return std::ranges::find(*order, member.name) - order->begin();
            });
        }
    }
    return members;
}

}  // namespace pystack::cpython
