#include "cpython/values/code_variables.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "cpython/objects/objects.h"
#include "memory/remote_struct.h"

namespace pystack::cpython {

namespace {

using memory::MemoryReader;
using memory::RemoteStruct;
using model::VariableKind;

/// The compiler's own limits are far below.
constexpr std::size_t kMaxWords = 1 << 14;

/// Bits of code.co_flags [Include/cpython/code.h].
constexpr std::uint32_t kOptimized = 0x1;
constexpr std::uint32_t kVarArgs = 0x4;
constexpr std::uint32_t kVarKeywords = 0x8;
/// Bits of co_localspluskinds [Include/internal/pycore_code.h]. An argument that is a cell has both
/// of the first two.
constexpr std::uint8_t kFastCell = 0x40;
constexpr std::uint8_t kFastFree = 0x80;

/// How many arguments of each class a code object has; they come first, in this order.
struct Arguments {
    std::size_t positional_only = 0;
    std::size_t positional = 0;  ///< With the positional-only ones.
    std::size_t keyword_only = 0;
    bool var_positional = false;
    bool var_keyword = false;

    std::size_t total() const {
        return positional + keyword_only + (var_positional ? 1 : 0) + (var_keyword ? 1 : 0);
    }

    VariableKind kind(std::size_t index, std::string_view name) const {
        if (name.starts_with('.')) return VariableKind::kImplicit;
        if (index < positional_only) return VariableKind::kPositionalOnly;
        if (index < positional) return VariableKind::kPositional;
        if (index < positional + keyword_only) return VariableKind::kKeywordOnly;
        if (var_positional && index == positional + keyword_only)
            return VariableKind::kVarPositional;
        return VariableKind::kVarKeyword;
    }

    /// Where in the signature: `*args` stands before the keyword-only ones.
    std::size_t place(std::size_t index) const {
        if (!var_positional || index < positional) return index;
        if (index == positional + keyword_only) return positional;
        return index < positional + keyword_only ? index + 1 : index;
    }
};

Result<Arguments> read_arguments(const Layout& layout, const RemoteStruct& code) {
    const auto& fields = layout.code_object;
    const auto count = [&](FieldOffset field) -> std::size_t {
        if (!field) return 0;
        return static_cast<std::size_t>(std::max(code.get<std::int32_t>(*field).value_or(0), 0));
    };
    const auto flags = fields.flags ? code.get<std::uint32_t>(*fields.flags).value_or(0) : 0;
    const Arguments arguments{.positional_only = count(fields.posonlyargcount),
                              .positional = count(fields.argcount),
                              .keyword_only = count(fields.kwonlyargcount),
                              .var_positional = (flags & kVarArgs) != 0,
                              .var_keyword = (flags & kVarKeywords) != 0};
    if (arguments.total() > kMaxWords || arguments.positional_only > arguments.positional) {
        return fail(corrupt("arguments of a code object", code.address()));
    }
    return arguments;
}

Result<std::vector<std::string>> read_names(const MemoryReader& memory, const Layout& layout,
                                            const RemoteStruct& code, FieldOffset field,
                                            FieldOffset count) {
    if (!field) return fail(Error{.code = ErrorCode::kOffsetsRejected, .what = "code_object"});
    PYSTACK_TRY(items, read_tuple_items(memory, layout, code.pointer(*field).value_or(RemoteAddr{}),
                                        kMaxWords));
    // Before any of them is read: the number is in the code object too.
    const auto expected = count ? code.get<std::int32_t>(*count) : std::nullopt;
    if (items.size() == kMaxWords || (expected && std::cmp_not_equal(*expected, items.size()))) {
        return fail(corrupt("names of variables", code.address()));
    }
    std::vector<std::string> names;
    names.reserve(items.size());
    for (auto& name : read_str_prefixes(memory, layout, items, kMaxVariableName)) {
        if (!name) return fail(std::move(name).error());
        names.push_back(std::move(name->text));
    }
    return names;
}

/// The slots of the arguments are made first, in the order of the signature.
void add_argument(CodeVariables& variables, const Arguments& arguments, std::size_t index,
                  const std::string& name) {
    variables.slots.resize(arguments.total());
    variables.slots[arguments.place(index)] = {name, arguments.kind(index, name),
                                               static_cast<std::uint32_t>(index)};
}

/// 3.11+: one tuple of names with a byte of bits each.
Result<void> read_localsplus(const MemoryReader& memory, const Layout& layout,
                             const RemoteStruct& code, const Arguments& arguments,
                             CodeVariables& variables) {
    const auto& fields = layout.code_object;
    PYSTACK_TRY(names,
                read_names(memory, layout, code, fields.localsplusnames, fields.nlocalsplus));
    const RemoteAddr kinds_object = code.pointer(*fields.localspluskinds).value_or(RemoteAddr{});
    PYSTACK_TRY(kinds, read_bytes_object(memory, layout, kinds_object, kMaxWords));
    if (kinds.size() != names.size() || arguments.total() > names.size()) {
        return fail(corrupt("co_localspluskinds", code.address()));
    }
    for (std::size_t i = 0; i < arguments.total(); ++i)
        add_argument(variables, arguments, i, names[i]);
    for (std::size_t i = arguments.total(); i < names.size(); ++i) {
        const auto bits = std::to_integer<std::uint8_t>(kinds[i]);
        const VariableKind kind = (bits & kFastFree) != 0   ? VariableKind::kFree
                                  : (bits & kFastCell) != 0 ? VariableKind::kCell
                                                            : VariableKind::kLocal;
        variables.slots.push_back({std::move(names[i]), kind, static_cast<std::uint32_t>(i)});
    }
    variables.words = static_cast<std::uint32_t>(names.size());
    return {};
}

/// Up to 3.10: locals, cells and free variables one after the other. An argument that inner
/// functions use moves into a cell, and its own word is empty from then on [co_cell2arg].
Result<void> read_three_tuples(const MemoryReader& memory, const Layout& layout,
                               const RemoteStruct& code, const Arguments& arguments,
                               CodeVariables& variables) {
    const auto& fields = layout.code_object;
    PYSTACK_TRY(locals, read_names(memory, layout, code, fields.varnames, fields.nlocals));
    PYSTACK_TRY(cells, read_names(memory, layout, code, fields.cellvars, {}));
    PYSTACK_TRY(frees, read_names(memory, layout, code, fields.freevars, {}));
    if (arguments.total() > locals.size()) return fail(corrupt("co_varnames", code.address()));
    for (std::size_t i = 0; i < arguments.total(); ++i)
        add_argument(variables, arguments, i, locals[i]);
    auto index = static_cast<std::uint32_t>(arguments.total());
    for (; index < locals.size(); ++index) {
        variables.slots.push_back({std::move(locals[index]), VariableKind::kLocal, index});
    }
    for (std::size_t i = 0; i < cells.size(); ++i, ++index) {
        const auto last_argument =
            variables.slots.begin() + static_cast<std::ptrdiff_t>(arguments.total());
        const auto argument = std::find_if(variables.slots.begin(), last_argument,
                                           [&](const auto& slot) { return slot.name == cells[i]; });
        if (argument != last_argument) {
            argument->index = index;
        } else {
            variables.slots.push_back({cells[i], VariableKind::kCell, index});
        }
    }
    for (std::string& name : frees)
        variables.slots.push_back({std::move(name), VariableKind::kFree, index++});
    variables.words = index;
    return {};
}

}  // namespace

Result<void> read_code_variables(const MemoryReader& memory, const Layout& layout, const Code& code,
                                 CodeVariables& variables) {
    const auto& fields = layout.code_object;
    PYSTACK_TRY(bytes, memory.read_bytes(code.address, fields.struct_size));
    const RemoteStruct object(code.address, bytes);
    PYSTACK_TRY(arguments, read_arguments(layout, object));
    const auto flags =
        fields.flags ? object.get<std::uint32_t>(*fields.flags).value_or(0) : kOptimized;
    variables.has_namespace = (flags & kOptimized) == 0;
    if (fields.localspluskinds) {
        PYSTACK_CHECK(read_localsplus(memory, layout, object, arguments, variables));
    } else {
        PYSTACK_CHECK(read_three_tuples(memory, layout, object, arguments, variables));
    }
    if (variables.words > kMaxWords)
        return fail(corrupt("variables of a code object", code.address));
    return {};
}

}  // namespace pystack::cpython
