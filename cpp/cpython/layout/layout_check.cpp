#include "cpython/layout/layout_check.h"

#include <algorithm>
#include <vector>

#include "cpython/layout/layout_visit.h"

namespace pystack::cpython {

namespace {

/// The first byte behind everything that a field of the section may reach, where that is not
/// struct_size itself: see the head of layout_fields.def.
std::uint32_t end_of(const Layout& layout, const FieldOffset* field, std::uint32_t struct_size) {
    if (field == &layout.pyobject.ob_size) return struct_size + 8;
    const auto& type = layout.type_object;
    if (field == &type.ht_name || field == &type.ht_qualname || field == &type.ht_module ||
        field == &type.ht_cached_keys) {
        return type.heap_type_size ? *type.heap_type_size : struct_size;
    }
    if (field == &type.heap_type_size) return kMaxStructSize;
    return struct_size;
}

Result<void> check_sections(const Layout& layout) {
    Result<void> result;
    const auto reject = [&](const char* what, std::uint64_t value) {
        if (result) result = fail(offsets_rejected(what, value));
    };
    for_each_section(layout, [&](const char* name, std::uint32_t size, auto fields) {
        if (size > kMaxStructSize) reject(name, size);
        for (const auto& field : fields) {
            if (!field.offset->has_value()) continue;
            const std::uint64_t offset = **field.offset;
            const std::uint64_t end = std::min(end_of(layout, field.offset, size), kMaxStructSize);
            if (offset + field.width > end) reject(field.full_name, offset);
            if (field.width != 0 && offset % field.width != 0) reject(field.full_name, offset);
        }
    });
    return result;
}

/// Structures that lie inside another, at a field of it.
Result<void> check_embedded(const Layout& layout) {
    const struct {
        const char* name;
        FieldOffset offset;
        std::uint32_t size;
        std::uint32_t outer_size;
    } embedded[] = {
        {"runtime_state.gc", layout.runtime_state.gc, layout.gc.struct_size,
         layout.runtime_state.struct_size},
        {"runtime_state.ceval_gil", layout.runtime_state.ceval_gil, layout.gil.struct_size,
         layout.runtime_state.struct_size},
        {"interpreter_state.gc", layout.interpreter_state.gc, layout.gc.struct_size,
         layout.interpreter_state.struct_size},
        {"interpreter_state.own_gil", layout.interpreter_state.own_gil, layout.gil.struct_size,
         layout.interpreter_state.struct_size},
    };
    for (const auto& [name, offset, size, outer_size] : embedded) {
        if (offset && std::uint64_t{*offset} + size > outer_size) {
            return fail(offsets_rejected(name, *offset));
        }
    }
    return {};
}

struct Required {
    const char* name;
    FieldOffset offset;
};

#define NEED(section, field)                      \
    Required {                                    \
        #section "." #field, layout.section.field \
    }

/// What no stack can be read without.
std::vector<Required> required_fields(const Layout& layout) {
    std::vector<Required> required = {
        NEED(interpreter_state, next),
        NEED(interpreter_state, threads_head),
        NEED(thread_state, next),
        NEED(thread_state, interp),
        NEED(thread_state, thread_id),
        NEED(interpreter_frame, previous),
        NEED(interpreter_frame, executable),
        NEED(interpreter_frame, instr_ptr),
        NEED(interpreter_frame, localsplus),
        NEED(code_object, filename),
        NEED(code_object, name),
        NEED(code_object, linetable),
        NEED(code_object, firstlineno),
        NEED(pyobject, ob_type),
        NEED(pyobject, ob_size),
        NEED(type_object, tp_name),
        NEED(bytes_object, ob_size),
        NEED(bytes_object, ob_sval),
        NEED(unicode_object, state),
        NEED(unicode_object, length),
        NEED(unicode_object, asciiobject_size),
        NEED(unicode_object, compactunicodeobject_size),
    };
    switch (layout.frame_chain) {
        case FrameChain::kFrameObject:
            required.push_back(NEED(thread_state, frame));
            break;
        case FrameChain::kCFrame:
            required.push_back(NEED(thread_state, cframe));
            required.push_back(NEED(cframe, current_frame));
            required.push_back(NEED(cframe, previous));
            break;
        case FrameChain::kCurrentFrame:
            required.push_back(NEED(thread_state, current_frame));
            break;
    }
    switch (layout.instruction) {
        case Instruction::kByteIndex:
        case Instruction::kUnitIndex:
            required.push_back(NEED(code_object, code));
            break;
        case Instruction::kPreviousUnit:
        case Instruction::kCurrentUnit:
            required.push_back(NEED(code_object, co_code_adaptive));
            break;
    }
    switch (layout.entry_mark) {
        case EntryMark::kNone:
            break;
        case EntryMark::kIsEntry:
            required.push_back(NEED(interpreter_frame, is_entry));
            break;
        case EntryMark::kOwner:
            required.push_back(NEED(interpreter_frame, owner));
            break;
    }
    switch (layout.gil_place) {
        case GilPlace::kSymbols:
            break;
        case GilPlace::kRuntime:
            required.push_back(NEED(runtime_state, interpreters_head));
            required.push_back(NEED(runtime_state, ceval_gil));
            break;
        case GilPlace::kInterpreter:
            required.push_back(NEED(runtime_state, interpreters_head));
            required.push_back(NEED(interpreter_state, ceval_gil));
            break;
    }
    if (layout.gil_place != GilPlace::kSymbols) {
        required.push_back(NEED(gil, last_holder));
        required.push_back(NEED(gil, locked));
    }
    return required;
}

#undef NEED

}  // namespace

Error offsets_rejected(const char* what, std::uint64_t value) {
    return Error{.code = ErrorCode::kOffsetsRejected,
                 .what = what,
                 .detail = "the interpreter's offset table is not valid: " + std::string(what) +
                           " cannot be " + std::to_string(value)};
}

Error offsets_rejected(const char* what, const char* reason) {
    return Error{.code = ErrorCode::kOffsetsRejected,
                 .what = what,
                 .detail = "the interpreter's offset table is not valid: " + std::string(what) +
                           ": " + reason};
}

Result<void> check_layout(const Layout& layout) {
    PYSTACK_CHECK(check_sections(layout));
    PYSTACK_CHECK(check_embedded(layout));
    for (const Required& field : required_fields(layout)) {
        if (!field.offset) return fail(offsets_rejected(field.name, "missing"));
    }
    return {};
}

}  // namespace pystack::cpython
