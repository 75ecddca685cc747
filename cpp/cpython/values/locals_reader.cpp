#include "cpython/values/locals_reader.h"

#include <algorithm>
#include <utility>

#include "cpython/objects/dict_objects.h"
#include "cpython/objects/objects.h"
#include "cpython/objects/repr_strings.h"
#include "memory/page_cache.h"
#include "memory/remote_struct.h"

namespace pystack::cpython {

namespace {

using memory::MemoryReader;
using memory::RemoteStruct;
using model::VariableKind;

constexpr std::uint64_t kWordBytes = 8;
/// Of a dict: more cannot be, whatever it says.
constexpr std::int64_t kMostUsed = 1 << 30;

Error not_in_frame() {
    return Error{.code = ErrorCode::kNotPython, .what = "compiled: variables are not in the frame"};
}

}  // namespace

RemoteRange locals_range(const Layout& layout, const CodeVariables& variables,
                         const RawFrame& frame) {
    const auto& fields = layout.interpreter_frame;
    std::uint64_t end = *fields.localsplus + variables.words * kWordBytes;
    if (fields.locals) end = std::max<std::uint64_t>(end, *fields.locals + kWordBytes);
    return {frame.address, frame.address + end};
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
    memory::PageCache pages(memory_);
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
        code.problem ? fail(*code.problem) : read_code_variables(memory, layout_, code, *variables);
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
    if (frame.raw->compiled) {
        // They are variables of C, which only its code knows; the slots of the frame stay empty.
        if (found.variables.empty() && !found.problem) found.problem = not_in_frame();
        return found;
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

std::size_t LocalsReader::most_variables(const Code& code) {
    const CodeVariables& variables = variables_of(code);
    return std::min(variables.has_namespace ? kMaxVariables : variables.slots.size(),
                    kMaxVariables);
}

std::uint64_t LocalsReader::count(const Frame& frame, const MemoryReader& frame_memory) {
    if (frame.raw->compiled) return 0;
    const CodeVariables& variables = variables_of(*frame.code);
    const RemoteRange range = locals_range(layout_, variables, *frame.raw);
    const auto bytes = frame_memory.read_bytes(range.begin, range.size());
    if (variables.problem || !bytes) return 0;
    const RemoteStruct words(range.begin, *bytes);
    const auto& fields = layout_.interpreter_frame;
    std::uint64_t count = 0;
    for (const CodeVariables::Slot& slot : variables.slots) {
        const auto word = words.get<std::uint64_t>(*fields.localsplus + slot.index * kWordBytes);
        if (decode_slot(layout_.stack_ref, word.value_or(0)).bound()) ++count;
    }
    const auto dict =
        variables.has_namespace && fields.locals ? words.pointer(*fields.locals) : std::nullopt;
    if (dict && *dict && layout_.dict_object.ma_used) {
        const auto used = memory_.read_value<std::int64_t>(*dict + *layout_.dict_object.ma_used);
        count +=
            static_cast<std::uint64_t>(std::clamp<std::int64_t>(used.value_or(0), 0, kMostUsed));
    }
    return count;
}

void LocalsReader::find_in_namespace(RemoteAddr dict, ValueRenderer& renderer, FoundFrame& found) {
    if (!dict) return;
    if (!renderer.is_dict(dict)) {
        // exec() takes any mapping.
        found.problem =
            Error{.code = ErrorCode::kCorruptData, .address = dict, .what = "namespace of a frame"};
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
    const auto names = read_str_prefixes(renderer.memory(), layout_, keys, kMaxVariableName);
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
            variable.redacted = renderer.hides(variable.name);
            if (!variable.redacted) objects.push_back(variable.content.object);
        }
    }
    renderer.fetch(objects);
    return found;
}

std::vector<model::FrameVariables> LocalsReader::render(std::span<const FoundFrame> frames,
                                                        ValueRenderer& renderer, double share) {
    using Depth = ValueRenderer::Depth;
    struct Cut {
        std::size_t frame;
        std::size_t variable;
        RemoteAddr object;
    };
    constexpr double kFirstPart = 0.5;
    std::vector<Cut> cut;
    std::vector<model::FrameVariables> result;
    renderer.begin(share * kFirstPart);
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
                auto text = renderer.render_variable(one.content.object, Depth::kNothingInside);
                if (!text) continue;  // An empty cell: a variable without a value.
                if (text->is_cut)
                    cut.push_back(
                        {result.size() - 1, variables.variables.size(), one.content.object});
                variable.value = std::move(text->value);
                variable.type_name = std::move(text->type_name);
            }
            variables.variables.push_back(std::move(variable));
        }
    }
    renderer.add_rest(share * (1 - kFirstPart));
    for (const Cut& one : cut) {
        if (renderer.spent()) break;
        auto text = renderer.render_variable(one.object);
        if (!text) continue;
        model::Variable& variable = result[one.frame].variables[one.variable];
        variable.value = std::move(text->value);
        variable.type_name = std::move(text->type_name);
    }
    return result;
}

std::vector<model::FrameVariables> LocalsReader::read(std::span<const Frame> frames,
                                                      const MemoryReader& frame_memory,
                                                      ValueRenderer& renderer) {
    return render(find(frames, frame_memory, renderer), renderer);
}

}  // namespace pystack::cpython
