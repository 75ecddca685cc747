#pragma once

#include <cstring>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "support/fake_heap.h"

namespace pystack::testing {

/// A FakeHeap whose objects know their types, as the renderer of values needs them.
class ValueHeap : public FakeHeap {
  public:
    explicit ValueHeap(const Layout& of) : FakeHeap(of) {}

    RemoteAddr c_string(std::string_view text) {
        const RemoteAddr address = memory.allocate(text.size() + 1);
        memory.put_text(address, text);
        return address;
    }

    /// A type; those with `heap` have a __qualname__.
    RemoteAddr make_type(const std::string& name, RemoteAddr base, std::uint64_t flags, bool heap) {
        const auto& fields = layout.type_object;
        const RemoteAddr address =
            memory.allocate(std::max(*fields.heap_type_size, *fields.ht_cached_keys + 8));
        memory.put(address + *fields.tp_name, c_string(name));
        memory.put(address + *fields.tp_flags, flags | (heap ? TypeFlags::kHeapType : 0));
        memory.put(address + *fields.tp_basicsize, std::uint64_t{layout.pyobject.struct_size});
        memory.put(address + *fields.tp_base, base);
        if (heap) memory.put(address + *fields.ht_qualname, typed_str(name));
        return address;
    }

    /// The static type of this name.
    RemoteAddr builtin(const std::string& name) {
        const auto known = builtins_.find(name);
        if (known != builtins_.end()) return known->second;
        RemoteAddr base;
        if (name == "bool") base = builtin("int");
        const RemoteAddr made = make_type(name, base, 0, false);
        return builtins_[name] = made;
    }

    RemoteAddr typed(RemoteAddr object, const std::string& type) {
        memory.put(object + *layout.pyobject.ob_type, builtin(type));
        return object;
    }
    RemoteAddr typed(RemoteAddr object, RemoteAddr type) {
        memory.put(object + *layout.pyobject.ob_type, type);
        return object;
    }

    RemoteAddr typed_str(const std::string& text) { return typed(str(text), "str"); }
    RemoteAddr typed_str(const std::u32string& text) { return typed(str(text), "str"); }

    RemoteAddr bytes_of(std::string_view content) {
        const auto& fields = layout.bytes_object;
        const RemoteAddr address = memory.allocate(*fields.ob_sval + content.size() + 1);
        memory.put(address + *fields.ob_size, std::uint64_t{content.size()});
        memory.put_text(address + *fields.ob_sval, content);
        return typed(address, "bytes");
    }

    RemoteAddr number(std::int64_t value) {
        const std::uint64_t magnitude =
            value < 0 ? -static_cast<std::uint64_t>(value) : static_cast<std::uint64_t>(value);
        std::vector<std::uint32_t> digits;
        for (std::uint64_t rest = magnitude; rest != 0; rest >>= 30) {
            digits.push_back(rest & ((1u << 30) - 1));
        }
        return typed(integer(value < 0, digits), "int");
    }

    RemoteAddr none() { return typed(memory.allocate(layout.pyobject.struct_size), "NoneType"); }

    RemoteAddr real(double value) {
        const RemoteAddr address = memory.allocate(*layout.float_object.ob_fval + 8);
        memory.put(address + *layout.float_object.ob_fval, value);
        return typed(address, "float");
    }

    RemoteAddr tuple(const std::vector<RemoteAddr>& items) {
        const auto& fields = layout.tuple_object;
        const RemoteAddr address = memory.allocate(*fields.ob_item + 8 * items.size());
        memory.put(address + *fields.ob_size, std::uint64_t{items.size()});
        put_items(address + *fields.ob_item, items);
        return typed(address, "tuple");
    }

    /// `claimed`: a size that is not the true one.
    RemoteAddr list(const std::vector<RemoteAddr>& items, std::int64_t claimed = -1) {
        const auto& fields = layout.list_object;
        const RemoteAddr address = memory.allocate(layout.list_object.struct_size);
        const RemoteAddr array = memory.allocate(8 * items.size() + 8);
        const auto size = static_cast<std::int64_t>(items.size());
        memory.put(address + *fields.ob_size, claimed >= 0 ? claimed : size);
        memory.put(address + *fields.ob_item, array);
        put_items(array, items);
        return typed(address, "list");
    }
    RemoteAddr list_array(RemoteAddr list) const {
        return memory.read_pointer(list + *layout.list_object.ob_item).value();
    }

    RemoteAddr typed_dict(const Items& items, Kind kind = Kind::kGeneral) {
        return complete_dict(dict(items, kind), items.size());
    }

    /// Entries of {key, hash}; a key of null with a hash of -1 is a removed one.
    RemoteAddr set(const std::vector<RemoteAddr>& keys, std::size_t slots,
                   const std::string& type = "set") {
        const auto& fields = layout.set_object;
        const RemoteAddr address = memory.allocate(layout.set_object.struct_size);
        const RemoteAddr table = memory.allocate(16 * slots);
        std::uint64_t used = 0;
        for (std::size_t i = 0; i < keys.size(); ++i) {
            memory.put(table + 16 * i, keys[i] ? keys[i] : RemoteAddr{0xd00d0});
            memory.put(table + 16 * i + 8, keys[i] ? std::int64_t{7} : std::int64_t{-1});
            if (keys[i]) ++used;
        }
        memory.put(address + *fields.used, used);
        memory.put(address + *fields.mask, std::uint64_t{slots - 1});
        memory.put(address + *fields.table, table);
        return typed(address, type);
    }

    RemoteAddr cell(RemoteAddr content) {
        const RemoteAddr address = memory.allocate(layout.cell_object.struct_size);
        memory.put(address + *layout.cell_object.ob_ref, content);
        return typed(address, "cell");
    }

    RemoteAddr slice(RemoteAddr start, RemoteAddr stop, RemoteAddr step) {
        const RemoteAddr address = memory.allocate(layout.slice_object.struct_size);
        memory.put(address + *layout.slice_object.start, start);
        memory.put(address + *layout.slice_object.stop, stop);
        memory.put(address + *layout.slice_object.step, step);
        return typed(address, "slice");
    }

    /// An instance of a new class of the program.
    RemoteAddr object(const std::string& class_name, const Items& attributes,
                      RemoteAddr base = {}) {
        const RemoteAddr shared = keys(attributes, Kind::kSplit);
        const RemoteAddr type = plain_type(shared);
        name_type(type, class_name, base);
        return plain_instance(type, shared, attributes);
    }

    void name_type(RemoteAddr type, const std::string& name, RemoteAddr base) {
        const auto& fields = layout.type_object;
        memory.put(type + *fields.tp_name, c_string(name));
        memory.put(type + *fields.ht_qualname, typed_str(name));
        memory.put(type + *fields.tp_base, base);
    }

    /// ma_used and the type, which FakeHeap leaves out.
    RemoteAddr complete_dict(RemoteAddr dict, std::size_t used) {
        memory.put(dict + *layout.dict_object.ma_used, std::uint64_t{used});
        return typed(dict, "dict");
    }

  private:
    void put_items(RemoteAddr array, const std::vector<RemoteAddr>& items) {
        for (std::size_t i = 0; i < items.size(); ++i) memory.put(array + 8 * i, items[i]);
    }

    std::map<std::string, RemoteAddr> builtins_;
};

}  // namespace pystack::testing
