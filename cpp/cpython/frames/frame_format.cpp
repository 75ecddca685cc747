#include "cpython/frames/frame_format.h"

#include <algorithm>
#include <cstring>

namespace pystack::cpython {

namespace {

/// The highest value of enum _frameowner in any version [pycore_interpframe.h of 3.14].
constexpr std::uint8_t kMaxOwner = 4;
/// FRAME_EXECUTING of 3.10's enum _framestate [Include/cpython/frameobject.h].
constexpr std::int8_t kFrameExecuting = 0;
/// A compiled frame lies behind the fields of its own frame object, some 100 bytes from the
/// beginning. The frame of a generator, whose frame object is another one, is further from it: the
/// object has room for a frame of its own, and the head of the generator follows.
constexpr std::uint64_t kMostObjectDistance = 191;

/// The smallest range of offsets that covers the fields given.
class Cover {
  public:
    void add(FieldOffset field, std::uint32_t width) {
        if (!field) return;
        begin_ = std::min(begin_, *field);
        end_ = std::max(end_, *field + width);
    }
    RemoteRange range() const { return {{std::min(begin_, end_)}, {end_}}; }

  private:
    std::uint32_t begin_ = 0xffffffff;
    std::uint32_t end_ = 0;
};

template <class T>
T load(const std::byte* bytes, FieldOffset field, RemoteRange covered) {
    T value;
    std::memcpy(&value, bytes + (*field - covered.begin.value), sizeof(T));
    return value;
}

RemoteRange header_offsets(const Layout& layout) {
    const auto& frame = layout.interpreter_frame;
    Cover cover;
    cover.add(frame.previous, 8);
    cover.add(frame.executable, 8);
    const bool is_index = layout.instruction == Instruction::kByteIndex ||
                          layout.instruction == Instruction::kUnitIndex;
    cover.add(frame.instr_ptr, is_index ? 4 : 8);
    cover.add(frame.owner, 1);
    cover.add(frame.is_entry, 1);
    cover.add(frame.tlbc_index, 4);
    cover.add(frame.executing, 1);
    if (frame.executing) cover.add(frame.stackpointer, 8);
    cover.add(frame.state, 1);
    if (layout.stack_top == StackTop::kIndex || layout.stack_top == StackTop::kDepth)
        cover.add(frame.stackpointer, 4);
    if (layout.stack_top == StackTop::kPointer) cover.add(frame.stackpointer, 8);
    cover.add(frame.frame_object, 8);
    cover.add(frame.trace, 8);
    cover.add(frame.lineno, 4);
    return cover.range();
}

RemoteRange object_offsets(const Layout& layout) {
    Cover cover;
    cover.add(layout.frame_object.frame, 8);
    cover.add(layout.frame_object.lineno, 4);
    return cover.range();
}

RemoteRange thread_offsets(const Layout& layout) {
    const auto& thread = layout.thread_state;
    Cover cover;
    for (const FieldOffset field :
         {thread.next, thread.interp, thread.frame, thread.cframe, thread.current_frame,
          thread.thread_id, thread.native_thread_id, thread.id, thread.datastack_chunk,
          thread.datastack_top, thread.datastack_limit}) {
        cover.add(field, 8);
    }
    for (const FieldOffset field : {thread.state, thread.gil_requested}) cover.add(field, 4);
    return cover.range();
}

}  // namespace

FrameFormat::FrameFormat(const Layout& layout)
    : layout_(layout),
      header_(header_offsets(layout)),
      object_(object_offsets(layout)),
      thread_(thread_offsets(layout)) {}

const char* FrameFormat::parse(RemoteAddr address, const std::byte* header, RawFrame& frame,
                               RemoteAddr& previous) const {
    const auto& fields = layout_.interpreter_frame;
    frame = {.address = address};
    previous = {load<std::uint64_t>(header, fields.previous, header_)};
    frame.code = {load<std::uint64_t>(header, fields.executable, header_)};
    switch (layout_.instruction) {
        case Instruction::kByteIndex:
        case Instruction::kUnitIndex:
            frame.instruction = static_cast<std::uint64_t>(
                std::int64_t{load<std::int32_t>(header, fields.instr_ptr, header_)});
            break;
        case Instruction::kPreviousUnit:
        case Instruction::kCurrentUnit:
            frame.instruction = load<std::uint64_t>(header, fields.instr_ptr, header_);
            break;
    }
    if (fields.owner) frame.owner = load<std::uint8_t>(header, fields.owner, header_);
    if (frame.owner > kMaxOwner) return "frame owner";
    if (fields.is_entry) frame.is_entry = load<std::uint8_t>(header, fields.is_entry, header_) != 0;
    if (fields.tlbc_index)
        frame.tlbc_index = load<std::int32_t>(header, fields.tlbc_index, header_);
    if (fields.executing) {
        // generator.throw() links a suspended generator into the chain, which has a stack pointer
        // instead.
        frame.calls = load<std::uint8_t>(header, fields.executing, header_) != 0 ||
                      load<std::uint64_t>(header, fields.stackpointer, header_) != 0;
    } else if (fields.state) {
        frame.calls = load<std::int8_t>(header, fields.state, header_) == kFrameExecuting;
        // generator.throw() marks it as executing without taking its depth, as the loop would.
        // Frames that the loop has just linked, or is about to leave, have a depth and are not so
        // marked.
        frame.suspended = layout_.stack_top == StackTop::kDepth && frame.calls &&
                          load<std::int32_t>(header, fields.stackpointer, header_) >= 0;
    } else if (layout_.stack_top == StackTop::kIndex) {
        frame.calls = load<std::int32_t>(header, fields.stackpointer, header_) >= 0;
    } else if (layout_.stack_top == StackTop::kPointer) {
        frame.calls = load<std::uint64_t>(header, fields.stackpointer, header_) != 0;
    }
    frame.shim = layout_.entry_mark == EntryMark::kOwner && frame.owner >= layout_.first_shim_owner;
    // 3.13 leaves any object in a shim frame; the low bits of a _PyStackRef are flags.
    if (layout_.stack_ref != StackRef::kPointer) frame.code.value &= ~std::uint64_t{3};
    if (!frame.shim && !frame.code) return "code of a frame";
    if (!frame.shim) find_maker(header, frame);
    return nullptr;
}

void FrameFormat::find_maker(const std::byte* header, RawFrame& frame) const {
    const auto& fields = layout_.interpreter_frame;
    if (frames_are_objects()) {
        // The interpreter sets f_trace only once it has begun to execute.
        if (!fields.trace || !fields.lineno || static_cast<std::int64_t>(frame.instruction) >= 0 ||
            load<std::uint64_t>(header, fields.trace, header_) == 0) {
            return;
        }
        frame.compiled = true;
        frame.line = std::max(load<std::int32_t>(header, fields.lineno, header_), 0);
        return;
    }
    const bool may_be_in_object =
        frame.owner == layout_.generator_owner || frame.owner == layout_.frame_object_owner;
    if (!may_be_in_object || !fields.frame_object || object_.size() == 0) return;
    const std::uint64_t object = load<std::uint64_t>(header, fields.frame_object, header_);
    const std::uint64_t distance = frame.address.value - object;
    if (object > frame.address.value || distance > kMostObjectDistance ||
        distance + header_.begin.value < object_.end.value) {
        return;
    }
    frame.compiled = true;
    frame.is_entry = false;
    frame.object_distance = static_cast<std::uint8_t>(distance);
}

const char* FrameFormat::parse_object(const std::byte* extent, RawFrame& frame) const {
    const auto& fields = layout_.frame_object;
    if (load<std::uint64_t>(extent, fields.frame, object_) != frame.address.value)
        return "frame object";
    frame.line = std::max(load<std::int32_t>(extent, fields.lineno, object_), 0);
    return nullptr;
}

RemoteAddr FrameFormat::top(const std::byte* thread) const {
    const auto& fields = layout_.thread_state;
    switch (layout_.frame_chain) {
        case FrameChain::kFrameObject:
            return {load<std::uint64_t>(thread, fields.frame, thread_)};
        case FrameChain::kCFrame:
            return {load<std::uint64_t>(thread, fields.cframe, thread_)};
        case FrameChain::kCurrentFrame:
            break;
    }
    return {load<std::uint64_t>(thread, fields.current_frame, thread_)};
}

RemoteAddr FrameFormat::data_stack_limit(const std::byte* thread) const {
    const FieldOffset limit = layout_.thread_state.datastack_limit;
    return limit ? RemoteAddr{load<std::uint64_t>(thread, limit, thread_)} : RemoteAddr{};
}

bool FrameFormat::add_running_task(std::uint32_t offset) {
    const std::uint64_t end = offset + sizeof(std::uint64_t);
    if (offset < thread_.begin.value || end - thread_.begin.value > kMostThreadBytes) return false;
    running_task_ = offset;
    thread_.end.value = std::max(thread_.end.value, end);
    return true;
}

RemoteAddr FrameFormat::running_task(const std::byte* thread) const {
    return running_task_ ? RemoteAddr{load<std::uint64_t>(thread, running_task_, thread_)}
                         : RemoteAddr{};
}

bool FrameFormat::looks_returned(const RawFrame& frame, const std::byte* header) const {
    // A compiled frame that has returned has lost its caller, which is part of its identity.
    if (frame.shim || frame.compiled) return false;
    const auto& fields = layout_.interpreter_frame;
    switch (layout_.stack_top) {
        case StackTop::kPointerIfSuspended:
        case StackTop::kDepth:
            return !frame.calls;
        case StackTop::kIndex:
            return frame.calls;
        case StackTop::kPointer:
            break;
    }
    // Saved around calls of C functions too; a frame that was cleared has nothing left on its stack
    // [_PyFrame_ClearLocals in Python/frame.c].
    const std::uint64_t top = load<std::uint64_t>(header, fields.stackpointer, header_);
    return top == frame.address.value + *fields.localsplus;
}

bool FrameFormat::is_outermost(const RawFrame& frame) const {
    if (frame.compiled) return true;
    switch (layout_.entry_mark) {
        case EntryMark::kNone:
            return true;
        case EntryMark::kIsEntry:
            return frame.is_entry;
        case EntryMark::kOwner:
            break;
    }
    return frame.shim;
}

bool FrameFormat::same_place(const std::byte* one, const std::byte* other) const {
    const auto& fields = layout_.thread_state;
    for (const FieldOffset field : {fields.frame, fields.cframe, fields.current_frame, fields.id,
                                    fields.datastack_chunk, fields.datastack_top}) {
        if (field && load<std::uint64_t>(one, field, thread_) !=
                         load<std::uint64_t>(other, field, thread_)) {
            return false;
        }
    }
    return true;
}

bool FrameFormat::same_chain(const std::byte* one, const std::byte* other) const {
    const auto& fields = layout_.thread_state;
    return !fields.cframe || load<std::uint64_t>(one, fields.cframe, thread_) ==
                                 load<std::uint64_t>(other, fields.cframe, thread_);
}

bool FrameFormat::same_thread(const std::byte* one, const std::byte* other) const {
    const FieldOffset id = layout_.thread_state.id;
    return !id || load<std::uint64_t>(one, id, thread_) == load<std::uint64_t>(other, id, thread_);
}

bool FrameFormat::same_identity(const std::byte* one, const std::byte* other) const {
    const auto& fields = layout_.interpreter_frame;
    for (const FieldOffset field : {fields.previous, fields.executable}) {
        if (load<std::uint64_t>(one, field, header_) !=
            load<std::uint64_t>(other, field, header_)) {
            return false;
        }
    }
    return !fields.owner || load<std::uint8_t>(one, fields.owner, header_) ==
                                load<std::uint8_t>(other, fields.owner, header_);
}

}  // namespace pystack::cpython
