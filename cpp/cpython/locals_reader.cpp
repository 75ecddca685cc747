#include "cpython/locals_reader.h"

#include <algorithm>
#include <utility>

#include "cpython/dict_objects.h"
#include "cpython/objects.h"
#include "cpython/page_copy.h"
#include "cpython/render_strings.h"
#include "memory/remote_struct.h"

namespace pystack::cpython {

namespace {

using memory::MemoryReader;
using memory::RemoteStruct;
using model::VariableKind;

constexpr std::uint64_t kWordBytes = 8;
constexpr std::size_t kMaxNameLength = 1024;
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
    for (auto& name : read_str_prefixes(memory, layout, items, kMaxNameLength)) {
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

Result<void> fill(const MemoryReader& memory, const Layout& layout, const Code& code,
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

}  // namespace

RemoteRange locals_range(const Layout& layout, const CodeVariables& variables,
                         const RawFrame& frame) {
    const auto& fields = layout.interpreter_frame;
    std::uint64_t end = *fields.localsplus + variables.words * kWordBytes;
    if (fields.locals) end = std::max<std::uint64_t>(end, *fields.locals + kWordBytes);
    return {frame.address, frame.address + end};
}

SlotContent decode_slot(StackRef format, std::uint64_t word) {
    if (format == StackRef::kPointer) return {.object = RemoteAddr{word}, .tagged_int = {}};
    constexpr std::uint64_t kTagMask = 3;
    constexpr std::uint64_t kInvalid = 2;
    constexpr std::uint64_t kInt = 3;
    if ((word & kTagMask) == kInt) {
        return {.object = {}, .tagged_int = static_cast<std::int64_t>(word) >> 2};
    }
    if (format == StackRef::kTaggedIntInvalid && (word & kTagMask) == kInvalid) return {};
    return {.object = RemoteAddr{word & ~kTagMask}, .tagged_int = {}};
}

LocalsReader::LocalsReader(const memory::MemoryReader& memory, const Layout& layout)
    : memory_(memory), layout_(layout) {}

void LocalsReader::load(std::span<const Code* const> codes) {
    std::vector<const Code*> unknown;
    for (const Code* code : codes) {
        if (code != nullptr && !known_.contains(code)) unknown.push_back(code);
    }
    if (unknown.empty()) return;
    // Names are scattered: by pages they cost one batch for the tuples and one for the strings.
    PageCopy pages(memory_);
    const auto& fields = layout_.code_object;
    std::vector<RemoteAddr> objects;
    for (const Code* code : unknown) objects.push_back(code->address);
    pages.fetch(objects);
    objects.clear();
    for (const Code* code : unknown) {
        for (const FieldOffset field : {fields.localsplusnames, fields.localspluskinds,
                                        fields.varnames, fields.cellvars, fields.freevars}) {
            if (!field) continue;
            if (const auto object = pages.read_pointer(code->address + *field))
                objects.push_back(*object);
        }
    }
    pages.fetch(objects);
    for (const Code* code : unknown) known_[code] = read_variables(pages, *code);
}

const CodeVariables& LocalsReader::variables_of(const Code& code) {
    const Code* address = &code;
    load(std::span(&address, 1));
    return *known_.find(address)->second;
}

std::unique_ptr<CodeVariables> LocalsReader::read_variables(const MemoryReader& memory,
                                                            const Code& code) {
    auto variables = std::make_unique<CodeVariables>();
    const auto filled =
        code.problem ? fail(*code.problem) : fill(memory, layout_, code, *variables);
    if (!filled)
        *variables = {.slots = {}, .words = 0, .has_namespace = false, .problem = filled.error()};
    return variables;
}

LocalsReader::FoundFrame LocalsReader::find(const Frame& frame, const MemoryReader& frame_memory,
                                            ValueRenderer& renderer) {
    FoundFrame found;
    const CodeVariables& variables = variables_of(*frame.code);
    if (variables.problem) {
        found.problem = variables.problem;
        return found;
    }
    const RemoteRange range = locals_range(layout_, variables, *frame.raw);
    const auto bytes = frame_memory.read_bytes(range.begin, range.size());
    if (!bytes) {
        found.problem = bytes.error();
        return found;
    }
    const RemoteStruct words(range.begin, *bytes);
    const auto& fields = layout_.interpreter_frame;
    if (variables.has_namespace && fields.locals) {
        find_in_namespace(words.pointer(*fields.locals).value_or(RemoteAddr{}), renderer, found);
    }
    for (const CodeVariables::Slot& slot : variables.slots) {
        const auto word = words.get<std::uint64_t>(*fields.localsplus + slot.index * kWordBytes);
        const SlotContent content = decode_slot(layout_.stack_ref, word.value_or(0));
        if (!content.bound()) continue;
        if (variables.has_namespace) {
            // The compiler's own way to the dict that has just been listed (3.12+).
            if (slot.name == "__classdict__") continue;
            // The variable of an inlined comprehension hides a global of the same name (3.12+).
            std::erase_if(found.variables, [&](const Found& one) { return one.name == slot.name; });
        }
        if (found.variables.size() >= kMaxVariables) {
            ++found.omitted;
            continue;
        }
        found.variables.push_back({slot.name, slot.kind, content, false});
    }
    return found;
}

void LocalsReader::find_in_namespace(RemoteAddr dict, ValueRenderer& renderer, FoundFrame& found) {
    if (!dict) return;
    if (!renderer.is_dict(dict)) {
        // exec() takes any mapping.
        found.problem = Error{
            .code = ErrorCode::kCorruptData, .address = dict, .what = "the namespace is no dict:"};
        return;
    }
    std::vector<RemoteAddr> keys;
    std::vector<RemoteAddr> values;
    constexpr std::size_t kMaxCounted = 100'000;
    const auto read = for_each_dict_item(renderer.memory(), layout_, dict, kMaxCounted,
                                         [&](RemoteAddr key, RemoteAddr value) {
                                             if (keys.size() >= kMaxVariables) {
                                                 ++found.omitted;
                                             } else {
                                                 keys.push_back(key);
                                                 values.push_back(value);
                                             }
                                             return true;
                                         });
    if (!read) found.problem = read.error();
    renderer.fetch(keys);
    const auto names = read_str_prefixes(renderer.memory(), layout_, keys, kMaxNameLength);
    for (std::size_t i = 0; i < keys.size(); ++i) {
        // Keys that are no names belong to nobody.
        if (!renderer.is_str(keys[i])) continue;
        found.variables.push_back({names[i] ? names[i]->text : "?",
                                   VariableKind::kLocal,
                                   {.object = values[i], .tagged_int = {}},
                                   false});
    }
}

std::vector<LocalsReader::FoundFrame> LocalsReader::find(std::span<const Frame> frames,
                                                         const MemoryReader& frame_memory,
                                                         ValueRenderer& renderer) {
    std::vector<FoundFrame> found;
    std::vector<RemoteAddr> objects;
    for (const Frame& frame : frames) {
        const bool readable = frame.code != nullptr && frame.raw != nullptr && !frame.raw->shim;
        found.push_back(readable ? find(frame, frame_memory, renderer) : FoundFrame{});
        for (Found& variable : found.back().variables) {
            variable.redacted = !renderer.should_render(variable.name);
            if (!variable.redacted) objects.push_back(variable.content.object);
        }
    }
    renderer.fetch(objects);
    return found;
}

std::vector<model::FrameVariables> LocalsReader::render(std::span<const FoundFrame> frames,
                                                        ValueRenderer& renderer) {
    renderer.begin();
    std::vector<model::FrameVariables> result;
    for (const FoundFrame& frame : frames) {
        model::FrameVariables& variables = result.emplace_back();
        variables.omitted = frame.omitted;
        if (frame.problem) variables.problem = frame.problem->message();
        for (const Found& one : frame.variables) {
            model::Variable variable{.name = escaped_name(one.name), .kind = one.kind};
            if (one.redacted) {
                variable.redacted = true;
            } else if (one.content.tagged_int) {
                variable.value = std::to_string(*one.content.tagged_int);
                variable.type_name = "int";
            } else {
                auto text = renderer.render_variable(one.content.object);
                if (!text) continue;  // An empty cell: a variable without a value.
                variable.value = std::move(text->value);
                variable.type_name = std::move(text->type_name);
            }
            variables.variables.push_back(std::move(variable));
        }
    }
    return result;
}

std::vector<model::FrameVariables> LocalsReader::read(std::span<const Frame> frames,
                                                      const MemoryReader& frame_memory,
                                                      ValueRenderer& renderer) {
    return render(find(frames, frame_memory, renderer), renderer);
}

}  // namespace pystack::cpython
