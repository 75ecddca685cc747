#include "unwind/debug_info.h"

#include <dwarf.h>
#include <elfutils/libdw.h>
#include <elfutils/libdwelf.h>

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <utility>

namespace pystack::unwind {

namespace {

/// Real nesting is some ten levels (blocks count); this bounds a hostile file.
constexpr int kMaxDepth = 256;
constexpr std::size_t kMaxFunctions = 1 << 22;
constexpr int kMaxChildren = 1 << 22;

/// Calls `visit(die)` for each child until it returns false.
template <class Visit>
void for_each_child(Dwarf_Die* parent, Visit visit) {
    Dwarf_Die child;
    if (dwarf_child(parent, &child) != 0) return;
    for (int i = 0; i < kMaxChildren; ++i) {
        if (!visit(&child)) return;
        if (dwarf_siblingof(&child, &child) != 0) return;
    }
}

template <class Add>
void for_each_range(Dwarf_Die* die, Add add) {
    Dwarf_Addr base = 0;
    Dwarf_Addr begin = 0;
    Dwarf_Addr end = 0;
    std::ptrdiff_t offset = 0;
    while ((offset = dwarf_ranges(die, offset, &base, &begin, &end)) > 0) {
        if (begin < end) add(begin, end);
    }
}

std::string text_of(const char* text) {
    return text != nullptr ? text : std::string();
}

std::string linkage_name(Dwarf_Die* die) {
    Dwarf_Attribute attribute;
    if (dwarf_attr_integrate(die, DW_AT_linkage_name, &attribute) != nullptr ||
        dwarf_attr_integrate(die, DW_AT_MIPS_linkage_name, &attribute) != nullptr) {
        return text_of(dwarf_formstring(&attribute));
    }
    return {};
}

/// The die that stands in its namespace or class: the declaration behind an inlined or out-of-line
/// copy.
Dwarf_Die declaration_of(Dwarf_Die* die) {
    Dwarf_Die current = *die;
    for (int i = 0; i < kMaxDepth; ++i) {
        Dwarf_Attribute attribute;
        Dwarf_Die next;
        if ((dwarf_attr(&current, DW_AT_abstract_origin, &attribute) == nullptr &&
             dwarf_attr(&current, DW_AT_specification, &attribute) == nullptr) ||
            dwarf_formref_die(&attribute, &next) == nullptr) {
            break;
        }
        current = next;
    }
    return current;
}

bool is_c_family_without_scopes(Dwarf_Die* die) {
    Dwarf_Die unit;
    if (dwarf_diecu(die, &unit, nullptr, nullptr) == nullptr) return true;
    switch (dwarf_srclang(&unit)) {
        case DW_LANG_C:
        case DW_LANG_C89:
        case DW_LANG_C99:
        case DW_LANG_C11:
        case DW_LANG_Mips_Assembler:
        case DW_LANG_Fortran77:
        case DW_LANG_Fortran90:
        case DW_LANG_Fortran95:
        case DW_LANG_Fortran03:
        case DW_LANG_Fortran08:
            return true;
        default:
            return false;
    }
}

/// With the namespaces, classes and functions around it. Finding them takes a walk through the
/// unit, so only where the mangled name does not tell.
std::string qualified_name(Dwarf_Die* die, int depth = 0) {
    std::string name = text_of(dwarf_diename(die));
    constexpr int kMaxFunctionsAround = 8;
    if (name.empty() || depth > kMaxFunctionsAround || is_c_family_without_scopes(die)) return name;
    Dwarf_Die declaration = declaration_of(die);
    Dwarf_Die* scopes = nullptr;
    const int count = dwarf_getscopes_die(&declaration, &scopes);
    for (int i = 1; i < count; ++i) {
        const int tag = dwarf_tag(&scopes[i]);
        if (tag == DW_TAG_subprogram) {
            name = qualified_name(&scopes[i], depth + 1) + "::" + name;
            break;
        }
        const bool is_namespace = tag == DW_TAG_namespace;
        if (!is_namespace && tag != DW_TAG_structure_type && tag != DW_TAG_class_type &&
            tag != DW_TAG_union_type) {
            continue;
        }
        const char* outer = dwarf_diename(&scopes[i]);
        // A class without a name is as a rule that of a lambda.
        if (outer == nullptr) outer = is_namespace ? "(anonymous namespace)" : "{lambda}";
        name = std::string(outer) + "::" + name;
    }
    if (count > 0) std::free(scopes);
    return name;
}

bool is_block(int tag) {
    return tag == DW_TAG_lexical_block || tag == DW_TAG_try_block || tag == DW_TAG_catch_block ||
           tag == DW_TAG_with_stmt;
}

/// The inlined functions around `address` in `function`, outermost first.
std::vector<Dwarf_Die> inlined_chain(Dwarf_Die function, std::uint64_t address) {
    std::vector<Dwarf_Die> chain;
    Dwarf_Die scope = function;
    for (int depth = 0; depth < kMaxDepth; ++depth) {
        bool found = false;
        for_each_child(&scope, [&](Dwarf_Die* child) {
            const int tag = dwarf_tag(child);
            const bool is_inlined = tag == DW_TAG_inlined_subroutine;
            if ((!is_inlined && !is_block(tag)) || dwarf_haspc(child, address) <= 0) return true;
            if (is_inlined) chain.push_back(*child);
            scope = *child;
            found = true;
            return false;
        });
        if (!found) break;
    }
    return chain;
}

std::uint32_t number_of(Dwarf_Die* die, unsigned name) {
    Dwarf_Attribute attribute;
    Dwarf_Word value = 0;
    if (dwarf_attr(die, name, &attribute) == nullptr || dwarf_formudata(&attribute, &value) != 0)
        return 0;
    return value <= UINT32_MAX ? static_cast<std::uint32_t>(value) : 0;
}

struct Place {
    std::string file;
    std::uint32_t line = 0;
};

Place line_at(Dwarf_Die* unit, std::uint64_t address) {
    Place place;
    Dwarf_Line* line = dwarf_getsrc_die(unit, address);
    int number = 0;
    if (line == nullptr) return place;
    place.file = text_of(dwarf_linesrc(line, nullptr, nullptr));
    if (dwarf_lineno(line, &number) == 0 && number > 0)
        place.line = static_cast<std::uint32_t>(number);
    return place;
}

Place call_place(Dwarf_Die* unit, Dwarf_Die* inlined) {
    Place place{.file = {}, .line = number_of(inlined, DW_AT_call_line)};
    Dwarf_Files* files = nullptr;
    std::size_t count = 0;
    const std::uint32_t index = number_of(inlined, DW_AT_call_file);
    if (dwarf_getsrcfiles(unit, &files, &count) == 0 && index < count) {
        place.file = text_of(dwarf_filesrc(files, index, nullptr, nullptr));
    }
    return place;
}

}  // namespace

std::unique_ptr<DebugInfo> DebugInfo::open(std::span<const std::byte> bytes, std::string path,
                                           std::shared_ptr<const void> owner,
                                           const DebugFileOptions& options) {
    std::unique_ptr<DebugInfo> info(new DebugInfo(bytes, std::move(owner)));
    if (info->dwarf_.get() == nullptr) return nullptr;
    info->open_alternate(path, options);
    return info;
}

void DebugInfo::open_alternate(const std::string& path, const DebugFileOptions& options) {
    const char* name = nullptr;
    const void* id = nullptr;
    const ssize_t size = dwelf_dwarf_gnu_debugaltlink(dwarf_.get(), &name, &id);
    if (size <= 0 || name == nullptr) return;
    std::string build_id;
    for (ssize_t i = 0; i < size; ++i) {
        constexpr std::string_view kDigits = "0123456789abcdef";
        const auto byte = static_cast<const unsigned char*>(id)[i];
        build_id += kDigits[byte >> 4];
        build_id += kDigits[byte & 15];
    }
    alternate_file_ = find_alternate_file(path, name, build_id, options);
    if (!alternate_file_) return;
    alternate_ = std::make_unique<DwarfHandle>(alternate_file_->image->bytes());
    if (alternate_->get() != nullptr) dwarf_setalt(dwarf_.get(), alternate_->get());
}

std::optional<std::uint64_t> DebugInfo::unit_at(std::uint64_t address) {
    Dwarf_Die unit;
    if (dwarf_addrdie(dwarf_.get(), address, &unit) != nullptr) return dwarf_dieoffset(&unit);
    // clang makes no .debug_aranges, and a file can be of several compilers' making.
    if (!units_) {
        units_.emplace();
        Dwarf_CU* next = nullptr;
        Dwarf_Die root;
        while (units_->size() < kMaxFunctions &&
               dwarf_get_units(dwarf_.get(), next, &next, nullptr, nullptr, &root, nullptr) == 0) {
            if (dwarf_tag(&root) != DW_TAG_compile_unit) continue;
            for_each_range(&root, [&](std::uint64_t begin, std::uint64_t end) {
                units_->push_back({begin, end, dwarf_dieoffset(&root)});
            });
        }
        std::sort(units_->begin(), units_->end(),
                  [](const Range& a, const Range& b) { return a.begin < b.begin; });
    }
    const auto after = std::upper_bound(
        units_->begin(), units_->end(), address,
        [](std::uint64_t wanted, const Range& range) { return wanted < range.begin; });
    if (after == units_->begin() || address >= std::prev(after)->end) return std::nullopt;
    return std::prev(after)->die;
}

/// Functions can stand anywhere in the tree (methods of classes inside of functions), so all of it
/// is walked; once.
const DebugInfo::Ranges& DebugInfo::functions_of(std::uint64_t unit) {
    const auto [place, is_new] = functions_.try_emplace(unit);
    Ranges& functions = place->second;
    if (!is_new) return functions;
    Dwarf_Die root;
    if (dwarf_offdie(dwarf_.get(), unit, &root) == nullptr) return functions;
    std::vector<std::pair<Dwarf_Die, int>> pending{{root, 0}};
    while (!pending.empty() && functions.size() < kMaxFunctions) {
        auto [parent, depth] = pending.back();
        pending.pop_back();
        for_each_child(&parent, [&](Dwarf_Die* child) {
            const int tag = dwarf_tag(child);
            if (tag == DW_TAG_subprogram) {
                for_each_range(child, [&](std::uint64_t begin, std::uint64_t end) {
                    functions.push_back({begin, end, dwarf_dieoffset(child)});
                });
            }
            const bool may_hold_functions = tag == DW_TAG_subprogram || tag == DW_TAG_namespace ||
                                            tag == DW_TAG_structure_type ||
                                            tag == DW_TAG_class_type || tag == DW_TAG_union_type ||
                                            tag == DW_TAG_module || is_block(tag);
            if (may_hold_functions && depth < kMaxDepth && dwarf_haschildren(child) == 1) {
                pending.emplace_back(*child, depth + 1);
            }
            return functions.size() < kMaxFunctions;
        });
    }
    std::sort(functions.begin(), functions.end(),
              [](const Range& a, const Range& b) { return a.begin < b.begin; });
    return functions;
}

std::vector<DebugFrame> DebugInfo::frames(std::uint64_t address) {
    const auto unit_offset = unit_at(address);
    Dwarf_Die unit;
    if (!unit_offset || dwarf_offdie(dwarf_.get(), *unit_offset, &unit) == nullptr) return {};
    const Ranges& functions = functions_of(*unit_offset);
    auto after = std::upper_bound(
        functions.begin(), functions.end(), address,
        [](std::uint64_t wanted, const Range& range) { return wanted < range.begin; });
    if (after == functions.begin() || address >= std::prev(after)->end) return {};
    Dwarf_Die function;
    if (dwarf_offdie(dwarf_.get(), std::prev(after)->die, &function) == nullptr) return {};

    std::vector<Dwarf_Die> chain = inlined_chain(function, address);
    std::vector<DebugFrame> frames;
    Place place = line_at(&unit, address);
    const auto add = [&](Dwarf_Die* die, bool is_inlined) {
        DebugFrame frame{.name = {},
                         .linkage_name = linkage_name(die),
                         .file = place.file,
                         .line = place.line,
                         .is_inlined = is_inlined};
        frame.name = frame.linkage_name.empty() ? qualified_name(die) : text_of(dwarf_diename(die));
        frames.push_back(std::move(frame));
    };
    for (auto die = chain.rbegin(); die != chain.rend(); ++die) {
        add(&*die, true);
        place = call_place(&unit, &*die);
    }
    add(&function, false);
    return frames;
}

std::optional<DebugFrame> DebugInfo::line(std::uint64_t address) {
    const auto unit_offset = unit_at(address);
    Dwarf_Die unit;
    if (!unit_offset || dwarf_offdie(dwarf_.get(), *unit_offset, &unit) == nullptr)
        return std::nullopt;
    Place place = line_at(&unit, address);
    if (place.file.empty()) return std::nullopt;
    return DebugFrame{
        .name = {}, .linkage_name = {}, .file = std::move(place.file), .line = place.line};
}

}  // namespace pystack::unwind
