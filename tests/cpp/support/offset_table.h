#pragma once

#include <doctest/doctest.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cpython/layout/debug_offsets.h"
#include "cpython/layout/layout_table.h"
#include "cpython/layout/layout_visit.h"

namespace pystack::testing {

using cpython::Architecture;
using cpython::Layout;

/// All offsets of a layout by full name; absent ones are not in it.
inline std::map<std::string, std::uint32_t> values_of(const Layout& layout) {
    std::map<std::string, std::uint32_t> values;
    for_each_section(layout, [&](std::string section, std::uint32_t size, auto fields) {
        if (size != 0) values[section + ".struct_size"] = size;
        for (const auto& field : fields) {
            if (*field.offset) values[field.full_name] = **field.offset;
        }
    });
    return values;
}

/// The groups of words behind the header as the headers of each version have them, written down a
/// second time and in another form than in debug_offsets.cpp, so that a slip in one of the two
/// shows.
inline std::string_view table_text(int minor) {
    switch (minor) {
        case 13:
            return "runtime_state: size finalizing interpreters_head;"
                   "interpreter_state: size id next threads_head gc imports_modules sysdict "
                   "builtins ceval_gil own_gil gil.enabled gil.locked gil.last_holder;"
                   "thread_state: size prev next interp current_frame thread_id native_thread_id "
                   "datastack_chunk status;"
                   "interpreter_frame: size previous executable instr_ptr localsplus owner;"
                   "code_object: size filename name qualname linetable firstlineno argcount "
                   "localsplusnames localspluskinds co_code_adaptive;"
                   "pyobject: size ob_type; type_object: size tp_name tp_repr tp_flags;"
                   "tuple_object: size ob_item ob_size; list_object: size ob_item ob_size;"
                   "dict_object: size ma_keys ma_values; float_object: size ob_fval;"
                   "long_object: size lv_tag ob_digit; bytes_object: size ob_size ob_sval;"
                   "unicode_object: size state length asciiobject_size; gc: size collecting;";
        case 14:
            return "runtime_state: size finalizing interpreters_head;"
                   "interpreter_state: size id next threads_head threads_main gc imports_modules "
                   "sysdict builtins ceval_gil own_gil gil.enabled gil.locked gil.last_holder "
                   "code_object_generation tlbc_generation;"
                   "thread_state: size prev next interp current_frame thread_id native_thread_id "
                   "datastack_chunk status;"
                   "interpreter_frame: size previous executable instr_ptr localsplus owner "
                   "stackpointer tlbc_index;"
                   "code_object: size filename name qualname linetable firstlineno argcount "
                   "localsplusnames localspluskinds co_code_adaptive co_tlbc;"
                   "pyobject: size ob_type; type_object: size tp_name tp_repr tp_flags;"
                   "tuple_object: size ob_item ob_size; list_object: size ob_item ob_size;"
                   "set_object: size used table mask;"
                   "dict_object: size ma_keys ma_values; float_object: size ob_fval;"
                   "long_object: size lv_tag ob_digit; bytes_object: size ob_size ob_sval;"
                   "unicode_object: size state length asciiobject_size; gc: size collecting;"
                   "gen_object: size gi_name gi_iframe gi_frame_state; llist_node: next prev;"
                   "thread_state: eval_breaker; -: - - - - -;";
        default:
            return "runtime_state: size finalizing interpreters_head;"
                   "interpreter_state: size id next threads_head threads_main gc imports_modules "
                   "sysdict builtins ceval_gil own_gil gil.enabled gil.locked gil.last_holder "
                   "code_object_generation tlbc_generation;"
                   "thread_state: size prev next interp current_frame base_frame - - thread_id "
                   "native_thread_id datastack_chunk status holds_gil gil_requested "
                   "current_exception -;"
                   "err_stackitem: exc_value;"
                   "interpreter_frame: size previous executable instr_ptr localsplus owner "
                   "stackpointer tlbc_index;"
                   "code_object: size filename name qualname linetable firstlineno argcount "
                   "localsplusnames localspluskinds co_code_adaptive co_tlbc;"
                   "pyobject: size ob_type;"
                   "type_object: size tp_name tp_repr tp_flags tp_basicsize tp_dictoffset;"
                   "type_object: heap_type_size ht_cached_keys;"
                   "tuple_object: size ob_item ob_size; list_object: size ob_item ob_size;"
                   "set_object: size used table mask;"
                   "dict_object: size ma_keys ma_values; float_object: size ob_fval;"
                   "long_object: size lv_tag ob_digit; bytes_object: size ob_size ob_sval;"
                   "unicode_object: size state length asciiobject_size compactunicodeobject_size;"
                   "gc: size collecting frame - -;"
                   "gen_object: size gi_name gi_iframe gi_frame_state; llist_node: next prev;"
                   "thread_state: eval_breaker; -: - - - - -;";
    }
}

/// The names of the words of a version's table, in order; "-" for those that are of no interest.
inline std::vector<std::string> table_names(int minor) {
    std::vector<std::string> names;
    std::string section;
    std::string word;
    for (const char c : table_text(minor)) {
        if (c == ':') {
            section = std::exchange(word, "");
        } else if (c == ' ' || c == ';') {
            if (word.empty()) continue;
            if (word == "size") word = "struct_size";
            const bool full = word == "-" || word.contains('.');
            names.push_back(full ? word : section + "." + word);
            word.clear();
        } else {
            word += c;
        }
    }
    return names;
}

/// The table that an interpreter shaped like `layout` would publish.
struct OffsetTable {
    std::vector<std::uint64_t> words;
    std::vector<std::string> names;  // Of words[3] and on.

    explicit OffsetTable(const Layout& layout, std::uint32_t version_hex) {
        words = {0, version_hex, layout.free_threaded ? 1u : 0u};
        std::memcpy(words.data(), "xdebugpy", 8);
        names = table_names(layout.version.minor);
        const auto values = values_of(layout);
        for (const std::string& name : names) {
            const auto found = values.find(name);
            std::uint64_t value = found != values.end() ? found->second : 0;
            if (name == "gil.locked" || name == "gil.last_holder") {
                value += *layout.interpreter_state.own_gil;
            }
            words.push_back(value);
        }
    }

    std::span<const std::byte> bytes() const { return std::as_bytes(std::span(words)); }

    std::uint64_t& word(std::string_view name) {
        for (std::size_t i = 0; i < names.size(); ++i) {
            if (names[i] == name) return words[i + 3];
        }
        FAIL("no such word: ", std::string(name));
        return words[0];
    }

    Result<Layout> decode() const {
        return cpython::layout_from_debug_offsets(bytes(), Architecture::kX86_64);
    }
};

}  // namespace pystack::testing
