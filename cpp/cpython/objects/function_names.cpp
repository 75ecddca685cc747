#include "cpython/objects/function_names.h"

#include <algorithm>
#include <compare>
#include <cstdint>
#include <optional>
#include <tuple>
#include <unordered_set>
#include <utility>
#include <vector>

#include "cpython/objects/dict_objects.h"
#include "cpython/objects/instance_attributes.h"
#include "cpython/objects/objects.h"
#include "cpython/objects/type_functions.h"
#include "cpython/objects/value_types.h"
#include "memory/page_cache.h"

namespace pystack::cpython {

namespace {

constexpr std::size_t kMaxModules = 20'000;
constexpr std::size_t kMaxItems = 20'000;  ///< Of one module.
constexpr std::size_t kMaxTypes = 100'000;
/// Of the target's memory that is looked at; a process with everything in it needs some 50 MiB.
constexpr std::size_t kMaxPages = 64'000;
constexpr std::size_t kMaxNameLength = 256;
constexpr std::size_t kMaxNames = 3;

/// A module or type that has a function, and under which name.
struct Claim {
    std::string owner;
    std::string name;

    auto operator<=>(const Claim&) const = default;
};

/// Of several names in one table the one that people would use: "acquire", rather than "__enter__"
/// or the old "acquire_lock".
bool is_better(const std::string& name, const std::string& other) {
    const bool special = name.starts_with("__");
    if (special != other.starts_with("__")) return !special;
    return std::pair(name.size(), name) < std::pair(other.size(), other);
}

class NameReader {
  public:
    NameReader(const memory::MemoryReader& memory, const Layout& layout)
        : layout_(layout), pages_(memory), types_(pages_, layout) {}

    void read_modules(RemoteAddr interpreter) {
        if (!layout_.interpreter_state.imports_modules) return;
        const auto modules =
            pages_.read_pointer(interpreter + *layout_.interpreter_state.imports_modules);
        if (!modules || !*modules) return;
        std::vector<RemoteAddr> found;
        std::ignore = for_each_dict_item(pages_, layout_, *modules, kMaxModules,
                                         [&](RemoteAddr, RemoteAddr module) {
                                             found.push_back(module);
                                             return true;
                                         });
        pages_.fetch(found);
        for (const RemoteAddr module : found) read_module(module);
    }

    FunctionNames finish() {
        // Types lead to their bases, which are appended while this goes on.
        for (std::size_t i = 0; i < found_types_.size() && !is_full(); ++i) {
            read_type(found_types_[i]);
        }
        FunctionNames names;
        for (auto& [function, claims] : claims_) {
            if (claims.empty() || claims.size() > kMaxNames || of_classes_.contains(function))
                continue;
            std::sort(claims.begin(), claims.end());
            std::string text;
            for (const Claim& claim : claims) {
                if (!text.empty()) text += " or ";
                text += claim.owner + "." + claim.name;
            }
            names.emplace(function, std::move(text));
        }
        return names;
    }

  private:
    bool is_full() const { return pages_.pages() > kMaxPages; }

    void read_module(RemoteAddr module) {
        if (is_full()) return;
        const auto type = types_.of(module);
        if (!type || (*type)->kind != ValueKind::kModule) return;
        const auto dict = module_dict(pages_, layout_, module);
        if (!dict) return;
        std::vector<RemoteAddr> values;
        std::ignore = for_each_dict_item(pages_, layout_, *dict, kMaxItems,
                                         [&](RemoteAddr, RemoteAddr value) {
                                             values.push_back(value);
                                             return true;
                                         });
        pages_.fetch(values);
        for (const RemoteAddr value : values) {
            const auto of_value = types_.of(value);
            if (!of_value) continue;
            add_type((*of_value)->address);
            if ((*of_value)->kind == ValueKind::kClass) add_type(value);
            if ((*of_value)->kind == ValueKind::kBuiltin) read_function(value);
        }
    }

    /// A PyCFunctionObject: a function of a module, or a method bound to an object.
    void read_function(RemoteAddr object) {
        const auto& fields = layout_.cfunction_object;
        if (!fields.m_ml || !fields.m_self) return;
        const auto definition = pages_.read_pointer(object + *fields.m_ml);
        // Of what is bound to something else, all may be one function, which asks that what to do
        // (pybind11).
        const auto self = pages_.read_pointer(object + *fields.m_self);
        if (!self) return;
        const auto self_type = types_.of(*self);
        if (*self && (!self_type || (*self_type)->kind != ValueKind::kModule)) return;
        // m_module follows [cpython/methodobject.h].
        const auto module = pages_.read_pointer(object + *fields.m_self + 8);
        if (!definition || !module || !*module) return;  // Methods are read with their types.
        const auto module_type = types_.of(*module);
        if (!module_type || (*module_type)->kind != ValueKind::kStr) return;
        const auto module_name = read_str(pages_, layout_, *module, kMaxNameLength);
        const auto name_address = pages_.read_pointer(*definition);
        const auto function = pages_.read_pointer(*definition + 8);
        if (!module_name || !name_address || !function) return;
        const auto name = pages_.read_c_string(*name_address, kMaxNameLength);
        if (name) claim(*function, *module_name, *name);
    }

    void add_type(RemoteAddr type) {
        if (type && seen_types_.size() < kMaxTypes && seen_types_.insert(type).second) {
            found_types_.push_back(type);
        }
    }

    void read_type(RemoteAddr type) {
        const auto info = types_.find(type);
        if (!info) return;
        const TypeFunctions functions = read_type_functions(pages_, layout_, type);
        add_type(functions.base);
        // A class statement makes no table; its slots are the same functions for all classes, and
        // some of them (subtype_dealloc) also those of types that extension modules make.
        const bool is_of_python = (*info)->heap && functions.methods.empty();
        if (is_of_python) {
            const TypeFunctions inherited = functions_of(functions.base);
            for (std::size_t i = 0; i < functions.slots.size(); ++i) {
                if (functions.slots[i] && !is_inherited(functions, inherited, i))
                    of_classes_.insert(functions.slots[i]);
            }
            return;
        }
        const std::string name = (*info)->heap ? types_.full_name(**info) : (*info)->tp_name;
        for (const auto* table : {&functions.methods, &functions.accessors}) {
            for (const NamedFunction& one : *table) claim(one.address, name, one.name);
        }
        const TypeFunctions inherited = functions_of(functions.base);
        for (std::size_t i = 0; i < functions.slots.size(); ++i) {
            if (functions.slots[i] && !is_inherited(functions, inherited, i))
                claim(functions.slots[i], name, slot_name(i));
        }
    }

    TypeFunctions functions_of(RemoteAddr type) {
        return type ? read_type_functions(pages_, layout_, type) : TypeFunctions();
    }

    static bool is_inherited(const TypeFunctions& functions, const TypeFunctions& base,
                             std::size_t slot) {
        return slot < base.slots.size() && base.slots[slot] == functions.slots[slot];
    }

    void claim(RemoteAddr function, const std::string& owner, const std::string& name) {
        std::vector<Claim>& claims = claims_[function];
        const auto same = std::find_if(claims.begin(), claims.end(),
                                       [&](const Claim& one) { return one.owner == owner; });
        if (same != claims.end()) {
            if (is_better(name, same->name)) same->name = name;
            return;
        }
        // One more than can be told says that there are too many.
        if (claims.size() <= kMaxNames) claims.push_back({owner, name});
    }

    const Layout& layout_;
    memory::PageCache pages_;
    TypeCache types_;
    std::vector<RemoteAddr> found_types_;
    std::unordered_set<RemoteAddr> seen_types_;
    std::unordered_map<RemoteAddr, std::vector<Claim>> claims_;
    std::unordered_set<RemoteAddr> of_classes_;  ///< Slots of classes: of no type in particular.
};

}  // namespace

FunctionNames read_function_names(const memory::MemoryReader& memory, const Layout& layout,
                                  std::span<const RemoteAddr> interpreters) {
    NameReader reader(memory, layout);
    for (const RemoteAddr interpreter : interpreters) reader.read_modules(interpreter);
    return reader.finish();
}

std::optional<std::uint64_t> count_modules(const memory::MemoryReader& memory, const Layout& layout,
                                           RemoteAddr interpreter) {
    if (!layout.interpreter_state.imports_modules || !layout.dict_object.ma_used) {
        return std::nullopt;
    }
    const auto modules =
        memory.read_pointer(interpreter + *layout.interpreter_state.imports_modules);
    if (!modules || !*modules) return std::nullopt;
    const auto used = memory.read_value<std::uint64_t>(*modules + *layout.dict_object.ma_used);
    return used ? std::optional(*used) : std::nullopt;
}

}  // namespace pystack::cpython
