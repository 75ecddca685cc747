#include "support/layout_json.h"

#include <cstdint>
#include <string_view>

#include "cpython/layout/layout_visit.h"

namespace pystack::cpython {

namespace {

/// Members of an object, with the commas between them. No value here needs escaping: all names are
/// ours.
class Members {
  public:
    explicit Members(std::string& out) : out_(out) { out_ += '{'; }

    void number(std::string_view name, long long value) { key(name) += std::to_string(value); }
    void boolean(std::string_view name, bool value) { key(name) += value ? "true" : "false"; }
    void text(std::string_view name, std::string_view value) {
        key(name).append("\"").append(value).append("\"");
    }
    std::string& key(std::string_view name) {
        if (!first_) out_ += ", ";
        first_ = false;
        return out_.append("\"").append(name).append("\": ");
    }
    void close() { out_ += '}'; }

  private:
    std::string& out_;
    bool first_ = true;
};

std::string_view name_of(FrameChain value) {
    switch (value) {
        case FrameChain::kFrameObject:
            return "frame_object";
        case FrameChain::kCFrame:
            return "cframe";
        case FrameChain::kCurrentFrame:
            return "current_frame";
    }
    return "?";
}

std::string_view name_of(Instruction value) {
    switch (value) {
        case Instruction::kByteIndex:
            return "byte_index";
        case Instruction::kUnitIndex:
            return "unit_index";
        case Instruction::kPreviousUnit:
            return "previous_unit";
        case Instruction::kCurrentUnit:
            return "current_unit";
    }
    return "?";
}

std::string_view name_of(LineTableFormat value) {
    switch (value) {
        case LineTableFormat::kLnotab:
            return "lnotab";
        case LineTableFormat::kLineTable310:
            return "linetable_310";
        case LineTableFormat::kLocations311:
            return "locations_311";
    }
    return "?";
}

std::string_view name_of(EntryMark value) {
    switch (value) {
        case EntryMark::kNone:
            return "none";
        case EntryMark::kIsEntry:
            return "is_entry";
        case EntryMark::kOwner:
            return "owner";
    }
    return "?";
}

std::string_view name_of(GilPlace value) {
    switch (value) {
        case GilPlace::kSymbols:
            return "symbols";
        case GilPlace::kRuntime:
            return "runtime";
        case GilPlace::kInterpreter:
            return "interpreter";
    }
    return "?";
}

std::string_view name_of(GcPlace value) {
    switch (value) {
        case GcPlace::kNone:
            return "none";
        case GcPlace::kRuntime:
            return "runtime";
        case GcPlace::kInterpreter:
            return "interpreter";
    }
    return "?";
}

std::string_view name_of(StackRef value) {
    switch (value) {
        case StackRef::kPointer:
            return "pointer";
        case StackRef::kTaggedInt:
            return "tagged_int";
        case StackRef::kTaggedIntInvalid:
            return "tagged_int_invalid";
    }
    return "?";
}

std::string_view name_of(StackTop value) {
    switch (value) {
        case StackTop::kPointerIfSuspended:
            return "pointer_if_suspended";
        case StackTop::kDepth:
            return "depth";
        case StackTop::kIndex:
            return "index";
        case StackTop::kPointer:
            return "pointer";
    }
    return "?";
}

std::string_view name_of(AwaitMark value) {
    switch (value) {
        case AwaitMark::kNextYieldFrom:
            return "next_yield_from";
        case AwaitMark::kNextResume:
            return "next_resume";
        case AwaitMark::kState:
            return "state";
    }
    return "?";
}

std::string_view name_of(RunningLoopPlace value) {
    switch (value) {
        case RunningLoopPlace::kThreadDict:
            return "thread_dict";
        case RunningLoopPlace::kBehindThreadState:
            return "behind_thread_state";
        case RunningLoopPlace::kPublished:
            return "published";
    }
    return "?";
}

std::string_view name_of(IntFormat value) {
    return value == IntFormat::kObSize ? "ob_size" : "tag";
}

std::string_view name_of(DictFormat value) {
    return value == DictFormat::kSlots ? "slots" : "log2";
}

std::string_view name_of(InstanceDict value) {
    switch (value) {
        case InstanceDict::kDictOffset:
            return "dict_offset";
        case InstanceDict::kValuesBefore:
            return "values_before";
        case InstanceDict::kTaggedBefore:
            return "tagged_before";
        case InstanceDict::kInlineValues:
            return "inline_values";
    }
    return "?";
}

void write_formats(std::string& out, const Layout& layout) {
    Members formats(out);
    formats.text("frame_chain", name_of(layout.frame_chain));
    formats.text("instruction", name_of(layout.instruction));
    formats.text("line_table", name_of(layout.line_table));
    formats.text("entry_mark", name_of(layout.entry_mark));
    formats.text("gil_place", name_of(layout.gil_place));
    formats.text("gc_place", name_of(layout.gc_place));
    formats.text("stack_ref", name_of(layout.stack_ref));
    formats.text("stack_top", name_of(layout.stack_top));
    formats.text("await_mark", name_of(layout.await_mark));
    formats.number("awaited_slot", layout.awaited_slot);
    formats.text("running_loop", name_of(layout.running_loop));
    formats.text("int_format", name_of(layout.int_format));
    formats.text("dict_format", name_of(layout.dict_format));
    formats.text("instance_dict", name_of(layout.instance_dict));
    formats.number("managed_dict_word", layout.managed_dict_word);
    formats.number("first_shim_owner", layout.first_shim_owner);
    formats.number("generator_owner", layout.generator_owner);
    formats.number("frame_object_owner", layout.frame_object_owner);
    Members bits(formats.key("unicode_state"));
    bits.number("kind_shift", layout.unicode_state.kind_shift);
    bits.number("compact_shift", layout.unicode_state.compact_shift);
    bits.number("ascii_shift", layout.unicode_state.ascii_shift);
    bits.close();
    Members states(formats.key("generator_states"));
    const GeneratorStates& s = layout.generator_states;
    const auto state = [&](std::string_view name, std::int8_t value) {
        if (value != GeneratorStates::kNone) states.number(name, value);
    };
    state("created", s.created);
    state("suspended", s.suspended);
    state("yield_from", s.yield_from);
    state("yield_from_locked", s.yield_from_locked);
    state("executing", s.executing);
    state("finished", s.finished);
    states.close();
    formats.close();
}

}  // namespace

std::string layout_to_json(const Layout& layout) {
    std::string out;
    Members top(out);
    top.text("version", layout.version.to_string());
    top.boolean("free_threaded", layout.free_threaded);
    top.boolean("debug", layout.debug);
    write_formats(top.key("formats"), layout);
    Members sections(top.key("sections"));
    for_each_section(layout, [&](const char* name, std::uint32_t struct_size, auto fields) {
        if (struct_size == 0) return;
        Members section(sections.key(name));
        section.number("struct_size", struct_size);
        for (const auto& field : fields) {
            if (*field.offset) section.number(field.name, **field.offset);
        }
        section.close();
    });
    sections.close();
    top.close();
    return out;
}

}  // namespace pystack::cpython
