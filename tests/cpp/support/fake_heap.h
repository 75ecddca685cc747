#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "cpython/layout/layout.h"
#include "cpython/layout/layout_table.h"
#include "cpython/objects/objects.h"
#include "support/fake_memory.h"

namespace pystack::testing {

using cpython::DictFormat;
using cpython::InstanceDict;
using cpython::IntFormat;
using cpython::Layout;
using cpython::TypeFlags;

inline constexpr std::uint8_t kMinors[] = {6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

inline Layout layout_of(std::uint8_t minor, bool free_threaded = false) {
    const auto layout = cpython::static_layout(cpython::PythonVersion{.major = 3, .minor = minor},
                                               free_threaded, false);
    REQUIRE(layout);
    return *layout;
}

/// Writes objects as the interpreter of `layout` would have them.
class FakeHeap {
  public:
    explicit FakeHeap(const Layout& of) : layout(of) {}

    // Compact, as most are; `units` are code points.
    RemoteAddr str(const std::u32string& units) {
        const char32_t highest = units.empty() ? 0 : *std::max_element(units.begin(), units.end());
        const bool ascii = highest < 0x80;
        const unsigned kind = highest < 0x100 ? 1 : highest < 0x10000 ? 2 : 4;
        const auto& fields = layout.unicode_object;
        const std::uint32_t head =
            ascii ? *fields.asciiobject_size : *fields.compactunicodeobject_size;
        const RemoteAddr address = memory.allocate(head + (units.size() + 1) * kind);
        put_str_head(address, units.size(), kind, ascii, true);
        put_units(address + head, units, kind);
        return address;
    }

    RemoteAddr str(const std::string& ascii) {
        return str(std::u32string(ascii.begin(), ascii.end()));
    }

    // As instances of subclasses are: the text is elsewhere.
    RemoteAddr str_with_data(const std::u32string& units, unsigned kind, bool ascii) {
        const RemoteAddr address = memory.allocate(*layout.unicode_object.data + 8);
        const RemoteAddr data = memory.allocate(units.size() * kind);
        put_str_head(address, units.size(), kind, ascii, false);
        memory.put(address + *layout.unicode_object.data, data);
        put_units(data, units, kind);
        return address;
    }

    void put_str_head(RemoteAddr address, std::uint64_t length, unsigned kind, bool ascii,
                      bool compact) {
        const auto& bits = layout.unicode_state;
        memory.put(address + *layout.unicode_object.length, length);
        memory.put(address + *layout.unicode_object.state,
                   std::uint32_t{kind} << bits.kind_shift |
                       std::uint32_t{compact} << bits.compact_shift |
                       std::uint32_t{ascii} << bits.ascii_shift);
    }

    RemoteAddr integer(bool negative, const std::vector<std::uint32_t>& digits) {
        const auto& fields = layout.long_object;
        const RemoteAddr address = memory.allocate(*fields.ob_digit + 4 * digits.size());
        if (layout.int_format == IntFormat::kTag) {
            const std::uint64_t sign = digits.empty() ? 1 : negative ? 2 : 0;
            memory.put(address + *fields.lv_tag, std::uint64_t{digits.size()} << 3 | sign);
        } else {
            const auto size = static_cast<std::int64_t>(digits.size());
            memory.put(address + *layout.pyobject.ob_size, negative ? -size : size);
        }
        for (std::size_t i = 0; i < digits.size(); ++i) {
            memory.put(address + *fields.ob_digit + 4 * i, digits[i]);
        }
        return address;
    }

    using Items = std::vector<std::pair<RemoteAddr, RemoteAddr>>;
    enum class Kind : std::uint8_t { kGeneral, kUnicode, kSplit };

    // PyDictKeysObject with 2 ** `log2_size` slots.
    RemoteAddr keys(const Items& items, Kind kind, unsigned log2_size = 3) {
        const auto& fields = layout.dict_keys;
        const bool logarithms = layout.dict_format == DictFormat::kLog2;
        const unsigned log2_width = log2_size < 8 ? 0 : log2_size < 16 ? 1 : 2;
        const std::uint64_t index_bytes = std::uint64_t{1} << (log2_size + log2_width);
        const std::uint64_t entry_bytes = logarithms && kind != Kind::kGeneral ? 16 : 24;
        const std::uint64_t entries = *fields.dk_indices + index_bytes;
        const RemoteAddr address = memory.allocate(entries + items.size() * entry_bytes);
        if (logarithms) {
            memory.put(address + *fields.dk_log2_size, static_cast<std::uint8_t>(log2_size));
            memory.put(address + *fields.dk_log2_index_bytes,
                       static_cast<std::uint8_t>(log2_size + log2_width));
            memory.put(address + *fields.dk_kind, static_cast<std::uint8_t>(kind));
        } else {
            memory.put(address + *fields.dk_size, std::uint64_t{1} << log2_size);
        }
        memory.put(address + *fields.dk_nentries, std::uint64_t{items.size()});
        for (std::size_t i = 0; i < items.size(); ++i) {
            const RemoteAddr entry = address + entries + i * entry_bytes + (entry_bytes - 16);
            memory.put(entry, items[i].first);
            if (kind != Kind::kSplit) memory.put(entry + 8, items[i].second);
        }
        return address;
    }

    // What ma_values points at; its values are those of `items`.
    RemoteAddr values(const Items& items) {
        const std::uint64_t head = layout.dict_values.values ? *layout.dict_values.values : 0;
        const RemoteAddr address = memory.allocate(head + items.size() * 8);
        put_values(address, items);
        return address;
    }

    void put_values(RemoteAddr address, const Items& items) {
        const std::uint64_t head = layout.dict_values.values ? *layout.dict_values.values : 0;
        if (layout.dict_values.valid)
            memory.put(address + *layout.dict_values.valid, std::uint8_t{1});
        for (std::size_t i = 0; i < items.size(); ++i)
            memory.put(address + head + i * 8, items[i].second);
    }

    RemoteAddr dict_of(RemoteAddr keys, RemoteAddr values = {}) {
        const auto& fields = layout.dict_object;
        const RemoteAddr address =
            memory.allocate(std::max(*fields.ma_keys, *fields.ma_values) + 8);
        memory.put(address + *fields.ma_keys, keys);
        memory.put(address + *fields.ma_values, values);
        return address;
    }

    RemoteAddr dict(const Items& items, Kind kind = Kind::kUnicode) {
        return dict_of(keys(items, kind), kind == Kind::kSplit ? values(items) : RemoteAddr{});
    }

    RemoteAddr type(std::uint64_t flags, std::int64_t basic_size, std::int64_t dict_offset,
                    RemoteAddr cached_keys) {
        const auto& fields = layout.type_object;
        const RemoteAddr address = memory.allocate(*fields.ht_cached_keys + 8);
        memory.put(address + *fields.tp_flags, flags | TypeFlags::kHeapType);
        memory.put(address + *fields.tp_basicsize, basic_size);
        memory.put(address + *fields.tp_dictoffset, dict_offset);
        memory.put(address + *fields.ht_cached_keys, cached_keys);
        return address;
    }

    // A class whose instances keep their attributes where this version likes it best.
    RemoteAddr plain_type(RemoteAddr cached_keys) {
        const auto basic = static_cast<std::int64_t>(layout.pyobject.struct_size);
        switch (layout.instance_dict) {
            case InstanceDict::kDictOffset:
                return type(0, basic + 16, basic, cached_keys);
            case InstanceDict::kInlineValues:
                return type(TypeFlags::kManagedDict | TypeFlags::kInlineValues, basic, -1,
                            cached_keys);
            default:
                return type(TypeFlags::kManagedDict, basic, -1, cached_keys);
        }
    }

    struct Instance {
        RemoteAddr object;
        RemoteAddr dict_word;
        RemoteAddr values_word;
    };

    // Words before it, the object, and room for inline values.
    Instance instance(RemoteAddr type, std::size_t capacity) {
        const std::uint64_t before = 4 * 8;
        const RemoteAddr block =
            memory.allocate(before + layout.pyobject.struct_size + 16 + capacity * 8);
        const RemoteAddr object = block + before;
        memory.put(object + *layout.pyobject.ob_type, type);
        Instance made{object, object - (layout.free_threaded ? 8 : 24), object - 32};
        if (layout.instance_dict == InstanceDict::kDictOffset) {
            made.dict_word = object + layout.pyobject.struct_size;
        } else if (layout.instance_dict == InstanceDict::kInlineValues) {
            made.values_word = object + layout.pyobject.struct_size;
        }
        return made;
    }

    // With its attributes in values, or (<= 3.10) in a dict that splits them.
    RemoteAddr plain_instance(RemoteAddr type, RemoteAddr keys, const Items& items) {
        const Instance made = instance(type, items.size());
        switch (layout.instance_dict) {
            case InstanceDict::kDictOffset:
                memory.put(made.dict_word, dict_of(keys, values(items)));
                break;
            case InstanceDict::kValuesBefore:
                memory.put(made.values_word, values(items));
                break;
            case InstanceDict::kTaggedBefore:
                memory.put(made.dict_word, values(items) - 1);
                break;
            case InstanceDict::kInlineValues:
                put_values(made.values_word, items);
        }
        return made.object;
    }

    RemoteAddr module(RemoteAddr dict) {
        const RemoteAddr address = memory.allocate(layout.pyobject.struct_size + 8);
        memory.put(address + layout.pyobject.struct_size, dict);
        return address;
    }

    const Layout& layout;
    FakeMemory memory;

  private:
    void put_units(RemoteAddr address, const std::u32string& units, unsigned kind) {
        for (std::size_t i = 0; i < units.size(); ++i) {
            const auto unit = static_cast<std::uint32_t>(units[i]);
            memory.write(address + i * kind, std::as_bytes(std::span(&unit, 1)).first(kind));
        }
    }
};

}  // namespace pystack::testing
