#include "cpython/frames/coroutine_reader.h"

#include <algorithm>
#include <cstddef>
#include <span>

#include "cpython/frames/saved_stack.h"
#include "cpython/objects/stack_slot.h"
#include "memory/remote_struct.h"

namespace pystack::cpython {

namespace {

using memory::RemoteStruct;

constexpr std::uint64_t kWordBytes = 8;
/// sizeof(_Py_CODEUNIT): an opcode and its argument.
constexpr std::uint64_t kUnitBytes = 2;
/// 3.6 to 3.10 [Include/opcode.h].
constexpr std::uint8_t kYieldFrom = 72;
/// The argument of RESUME: 2 behind a `yield from`, 3 behind an `await`; other bits are flags. The
/// instruction behind the one that suspends is always a RESUME [Python/compile.c of 3.11, 3.12].
constexpr std::uint8_t kResumeMask = 3;
constexpr std::uint8_t kResumeAfterYieldFrom = 2;
/// FRAME_EXECUTING of 3.10 [Include/cpython/frameobject.h].
constexpr std::int8_t kFrameExecuting = 0;
/// Variables and values of one frame. The compiler's limit is higher, but no real frame is.
constexpr std::uint64_t kMostValues = 4096;

Error no_coroutine(RemoteAddr object) {
    return corrupt("coroutine", object);
}

}  // namespace

CoroutineReader::CoroutineReader(const memory::MemoryReader& memory, const Layout& layout)
    : memory_(memory),
      layout_(layout),
      format_(layout),
      frame_bytes_(std::max<std::uint64_t>(*layout.interpreter_frame.localsplus,
                                           format_.header().end.value) +
                   kWordBytes) {}

Result<Coroutine> CoroutineReader::read(RemoteAddr object) {
    if (object.value % kWordBytes != 0) return fail(no_coroutine(object));
    return format_.frames_are_objects() ? read_frame_object(object) : read_embedded(object);
}

/// The word of the first variable may be missing at the end of a page: not every frame has one.
Result<std::span<const std::byte>> CoroutineReader::read_bytes(RemoteAddr address,
                                                               std::uint64_t size) {
    buffer_.resize(size);
    const std::size_t done = memory_.read_up_to(address, buffer_);
    if (done + kWordBytes < size) return fail(read_fault(address + done, size - done));
    return std::span<const std::byte>(buffer_).first(done);
}

/// Up to 3.10 the frame is an object of its own.
Result<Coroutine> CoroutineReader::read_frame_object(RemoteAddr object) {
    const auto& fields = layout_.interpreter_frame;
    if (!layout_.gen_object.gi_frame)
        return fail(Error{.code = ErrorCode::kOffsetsRejected, .what = "gen_object.gi_frame"});
    PYSTACK_TRY(address, memory_.read_pointer(object + *layout_.gen_object.gi_frame));
    Coroutine coroutine;
    if (!address) return coroutine;
    const std::uint64_t valuestack = fields.valuestack ? *fields.valuestack + kWordBytes : 0;
    PYSTACK_TRY(bytes, read_bytes(address, std::max(frame_bytes_, valuestack)));
    const RemoteStruct frame(address, bytes);
    RemoteAddr previous;
    if (format_.parse(address, bytes.data() + format_.header().begin.value, coroutine.frame,
                      previous) != nullptr) {
        return fail(no_coroutine(object));
    }
    const bool is_running =
        fields.executing ? frame.get<std::uint8_t>(*fields.executing).value_or(0) != 0
                         : fields.state && frame.get<std::int8_t>(*fields.state) == kFrameExecuting;
    if (is_running) {
        coroutine.state = CoroutineState::kRunning;
    } else if (static_cast<std::int64_t>(coroutine.frame.instruction) < 0) {
        coroutine.state = CoroutineState::kCreated;
    } else {
        coroutine.state = CoroutineState::kSuspended;
        PYSTACK_CHECK(read_suspended(coroutine, frame));
        if (coroutine.awaited && !next_yields_from(coroutine)) coroutine.awaited = {};
    }
    coroutine.first_variable =
        decode_slot(layout_.stack_ref, frame.get<std::uint64_t>(*fields.localsplus).value_or(0))
            .object;
    return coroutine;
}

/// From 3.11 on it is inside of the object.
Result<Coroutine> CoroutineReader::read_embedded(RemoteAddr object) {
    const auto& fields = layout_.gen_object;
    if (!fields.gi_iframe || !fields.gi_frame_state)
        return fail(Error{.code = ErrorCode::kOffsetsRejected, .what = "gen_object"});
    PYSTACK_TRY(all_bytes, read_bytes(object, *fields.gi_iframe + frame_bytes_));
    const auto state = *RemoteStruct(object, all_bytes).get<std::int8_t>(*fields.gi_frame_state);
    const GeneratorStates& states = layout_.generator_states;
    Coroutine coroutine;
    if (state >= states.finished) return coroutine;
    const RemoteAddr address = object + *fields.gi_iframe;
    const auto bytes = all_bytes.subspan(*fields.gi_iframe);
    const RemoteStruct frame(address, bytes);
    RemoteAddr previous;
    if (format_.parse(address, bytes.data() + format_.header().begin.value, coroutine.frame,
                      previous) != nullptr) {
        return fail(no_coroutine(object));
    }
    const std::uint64_t first = *layout_.interpreter_frame.localsplus;
    coroutine.first_variable =
        decode_slot(layout_.stack_ref, frame.get<std::uint64_t>(first).value_or(0)).object;
    if (state == states.executing) {
        coroutine.state = CoroutineState::kRunning;
        return coroutine;
    }
    if (state == states.created) {
        coroutine.state = CoroutineState::kCreated;
        return coroutine;
    }
    const bool is_yield_from = state == states.yield_from || state == states.yield_from_locked;
    if (state != states.suspended && !is_yield_from) return fail(no_coroutine(object));
    coroutine.state = CoroutineState::kSuspended;
    PYSTACK_CHECK(read_suspended(coroutine, frame));
    if (layout_.await_mark == AwaitMark::kState) {
        if (!is_yield_from) coroutine.awaited = {};
        return coroutine;
    }
    // prev_instr is the instruction that suspended it.
    const auto argument =
        memory_.read_value<std::uint8_t>({coroutine.frame.instruction + kUnitBytes + 1});
    if (!argument || (*argument & kResumeMask) < kResumeAfterYieldFrom) coroutine.awaited = {};
    return coroutine;
}

Result<void> CoroutineReader::read_suspended(Coroutine& coroutine, const RemoteStruct& frame) {
    const auto top = saved_stack_top(layout_, frame);
    if (!top) return fail(no_coroutine(frame.address()));
    coroutine.values = {frame.address() + *layout_.interpreter_frame.localsplus, *top};
    const std::uint64_t depth = layout_.awaited_slot * kWordBytes;
    if (coroutine.values.size() < depth) return {};
    PYSTACK_TRY(word, memory_.read_value<std::uint64_t>(*top - depth));
    coroutine.awaited = decode_slot(layout_.stack_ref, word).object;
    return {};
}

bool CoroutineReader::next_yields_from(const Coroutine& coroutine) const {
    const auto& fields = layout_.code_object;
    const auto code = memory_.read_pointer(coroutine.frame.code + *fields.code);
    if (!code) return false;
    const bool in_bytes = layout_.instruction == Instruction::kByteIndex;
    const std::uint64_t next = in_bytes ? coroutine.frame.instruction + kUnitBytes
                                        : (coroutine.frame.instruction + 1) * kUnitBytes;
    const auto size = memory_.read_value<std::uint64_t>(*code + *layout_.bytes_object.ob_size);
    if (!size || next >= *size) return false;
    return memory_.read_value<std::uint8_t>(*code + *layout_.bytes_object.ob_sval + next) ==
           kYieldFrom;
}

std::vector<RemoteAddr> CoroutineReader::read_values(RemoteRange values) const {
    const std::uint64_t count = values.size() / kWordBytes;
    if (count == 0 || count > kMostValues) return {};
    std::vector<std::uint64_t> words(count);
    if (!memory_.read(values.begin, std::as_writable_bytes(std::span(words)))) return {};
    std::vector<RemoteAddr> objects;
    objects.reserve(count);
    for (const std::uint64_t word : words)
        objects.push_back(decode_slot(layout_.stack_ref, word).object);
    return objects;
}

}  // namespace pystack::cpython
