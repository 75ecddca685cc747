#include "cpython/values/render_instances.h"

#include <array>
#include <charconv>
#include <cstring>

#include "cpython/objects/dict_objects.h"
#include "cpython/objects/insertion_order.h"
#include "cpython/objects/instance_attributes.h"
#include "cpython/objects/objects.h"
#include "cpython/objects/repr_strings.h"
#include "cpython/values/render_redacted.h"

namespace pystack::cpython {

namespace {

/// Attributes counted of one instance; nobody has more.
constexpr std::size_t kMaxAttributes = 10'000;
constexpr std::size_t kMaxNameLength = 256;

struct Attribute {
    RemoteAddr name;  ///< Null for slots.
    std::string slot_name;
    RemoteAddr value;
};

/// Slots that are set, then what is in the dict or in values of its own.
std::vector<Attribute> find_attributes(Rendering& r, const Value& value,
                                       std::optional<Error>& problem) {
    std::vector<Attribute> attributes;
    for (const SlotMember& slot : r.types.slots(value.type)) {
        const auto content =
            r.field<std::uint64_t>(value, FieldOffset(static_cast<std::uint32_t>(slot.offset)));
        if (content && *content != 0) attributes.push_back({{}, slot.name, RemoteAddr{*content}});
    }
    const auto tables = read_attribute_tables(r.heap, r.layout, std::span(&value.address, 1));
    if (!tables.front()) {
        problem = tables.front().error();
    } else if (*tables.front()) {
        std::vector<DictItem> items;
        const auto read = for_each_table_item(r.heap, r.layout, **tables.front(), kMaxAttributes,
                                              [&](RemoteAddr name, RemoteAddr content) {
                                                  items.emplace_back(name, content);
                                                  return true;
                                              });
        sort_by_insertion(r.heap, r.layout, **tables.front(), items);
        for (const auto& [name, content] : items) attributes.push_back({name, {}, content});
        if (!read) problem = read.error();
    }
    r.charge(attributes.size() * 2 * sizeof(RemoteAddr));
    return attributes;
}

/// The names of those that will be shown, in one batch.
void read_names(Rendering& r, std::vector<Attribute>& attributes, std::size_t shown) {
    std::vector<RemoteAddr> strs;
    std::vector<RemoteAddr> values;
    for (std::size_t i = 0; i < shown; ++i) {
        values.push_back(attributes[i].value);
        if (attributes[i].name) strs.push_back(attributes[i].name);
    }
    r.heap.fetch(values);
    const auto names = r.names(strs);
    std::size_t next = 0;
    for (std::size_t i = 0; i < shown; ++i) {
        if (attributes[i].name) attributes[i].slot_name = names[next++];
    }
}

void append_attributes(Rendering& r, std::vector<Attribute>& attributes) {
    // No further: what has no name here might be one that is to be hidden.
    const std::size_t shown = r.shown_of(attributes.size());
    read_names(r, attributes, shown);
    Entries entries(r, attributes.size());
    for (const Attribute& attribute : std::span(attributes).first(shown)) {
        if (!entries.next()) break;
        r.out += attribute.slot_name;
        r.out += '=';
        r.named_value(attribute.slot_name, attribute.value);
    }
    entries.finish();
}

/// Extension types and descriptors have attributes too, but are told better by their address.
bool is_plain_instance(const Value& value) {
    switch (value.type.kind) {
        case ValueKind::kOther:
        case ValueKind::kEvent:
        case ValueKind::kSemaphore:
        case ValueKind::kCondition:
        case ValueKind::kQueue:
        case ValueKind::kBarrier:
        case ValueKind::kThread:
        case ValueKind::kFuture:
        case ValueKind::kModuleLock:
        case ValueKind::kPySimpleQueue:
        case ValueKind::kGeneratorContext:
            return true;
        default:
            return false;
    }
}

}  // namespace

void append_address(Rendering& r, RemoteAddr address) {
    std::array<char, 16> digits;
    const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), address.value, 16);
    r.out.append("0x").append(digits.data(), end.ptr);
}

void append_address_form(Rendering& r, const Value& value) {
    r.out += '<';
    r.out += r.types.full_name(value.type);
    r.out += " at ";
    append_address(r, value.address);
    r.out += '>';
}

Result<void> render_instance(Rendering& r, const Value& value) {
    if (!is_plain_instance(value)) {
        append_address_form(r, value);
        return {};
    }
    const Nesting nesting(r, value.address);
    if (nesting.cycle()) {
        r.out += value.type.qualname + "(...)";
        return {};
    }
    std::optional<Error> problem;
    auto attributes = find_attributes(r, value, problem);
    if (problem && attributes.empty()) return fail(*problem);
    if (attributes.empty()) {
        append_address_form(r, value);
        return {};
    }
    r.out += value.type.qualname;
    r.out += '(';
    if (r.too_deep()) {
        r.out += "...";
    } else {
        append_attributes(r, attributes);
        if (problem) {
            r.out += ", ";
            r.unreadable(*problem);
        }
    }
    r.out += ')';
    return {};
}

void append_more_attributes(Rendering& r, const Value& value) {
    if (!value.type.heap) return;
    const Nesting nesting(r, value.address);
    std::optional<Error> problem;
    auto attributes = find_attributes(r, value, problem);
    if (attributes.empty() || r.too_deep()) return;
    r.out += ", ";
    append_attributes(r, attributes);
}

Result<void> render_enum_member(Rendering& r, const Value& value) {
    const auto tables = read_attribute_tables(r.heap, r.layout, std::span(&value.address, 1));
    if (!tables.front()) return fail(tables.front().error());
    const auto attribute = [&](std::string_view name) -> Result<std::optional<RemoteAddr>> {
        if (!*tables.front() || !is_searchable(r.heap, r.layout, (*tables.front())->keys)) {
            return std::nullopt;
        }
        return std::move(
            find_in_tables(r.heap, r.layout, std::span(&**tables.front(), 1), name).front());
    };
    PYSTACK_TRY(name, attribute("_name_"));
    PYSTACK_TRY(content, attribute("_value_"));
    if (!content) {
        append_address_form(r, value);
        return {};
    }
    const Nesting nesting(r, value.address);
    r.out += '<';
    r.out += value.type.name;
    // None for a combination of flags without a name of its own (below 3.11).
    const auto name_type = name ? r.types.of(*name) : fail(Error{});
    if (name_type && (*name_type)->kind == ValueKind::kStr) {
        PYSTACK_TRY(text, read_str_prefix(r.heap, r.layout, *name, kMaxNameLength));
        r.out += '.';
        append_name(r.out, text.text);
    }
    r.out += ": ";
    if (nesting.cycle()) {
        r.out += "...";
    } else {
        r.value(*content);
    }
    r.out += '>';
    return {};
}

Result<void> render_exception(Rendering& r, const Value& value) {
    PYSTACK_TRY(args, r.pointer(value, r.layout.exception_object.args));
    PYSTACK_TRY(type, r.types.of(args));
    if (type->kind != ValueKind::kTuple)
        return fail(corrupt("args of an exception", value.address));
    PYSTACK_TRY(size, r.heap.read_value<std::int64_t>(args + *r.layout.tuple_object.ob_size));
    if (size < 0) return fail(corrupt("args of an exception", value.address));
    const Nesting nesting(r, value.address);
    r.out += value.type.name;
    r.out += '(';
    if (nesting.cycle()) {
        r.out += "...)";
        return {};
    }
    const auto total = static_cast<std::uint64_t>(size);
    PYSTACK_TRY(items, r.item_array(args + *r.layout.tuple_object.ob_item, total));
    append_items(r, total, items);
    r.out += ')';
    return {};
}

}  // namespace pystack::cpython
