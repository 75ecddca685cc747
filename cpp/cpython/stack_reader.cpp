#include "cpython/stack_reader.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>

#include "memory/remote_struct.h"

namespace pystack::cpython {

namespace {

using memory::RemoteStruct;
using model::StackEnd;

constexpr std::uint64_t kPage = 4096;
/// Frames of one thread lie behind each other and are walked downwards, so a fault fetches this
/// much below.
constexpr std::uint64_t kFetchBelow = 4 * kPage;
/// Read beyond the innermost frame, so that a few calls more are still in the copy.
constexpr std::uint64_t kSlack = 1024;
/// Frames nearer than this are read as one range: bytes are cheaper than pieces.
constexpr std::uint64_t kMaxGap = 2048;
/// One batched read takes 1 to 2 us for a shallow stack. One that took much longer was interrupted
/// half way (another program, the hypervisor), and a program that repeats itself may look the same
/// afterwards.
constexpr auto kLongestRead = std::chrono::microseconds(8);
/// What more pieces and more bytes may take in addition, for deep stacks: of the pieces, so many
/// times what they take when nothing disturbs.
constexpr std::int64_t kLongestReadInPieces = 4;
constexpr auto kLongestReadPerMiB = std::chrono::milliseconds(2);
/// The highest value of enum _frameowner in any version [pycore_interpframe.h of 3.14].
constexpr std::uint8_t kMaxOwner = 4;
/// FRAME_EXECUTING of 3.10's enum _framestate [Include/cpython/frameobject.h].
constexpr std::int8_t kFrameExecuting = 0;

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

RemoteRange header_offsets(const Layout& layout) {
    const auto& frame = layout.interpreter_frame;
    Cover cover;
    cover.add(frame.previous, 8);
    cover.add(frame.executable, 8);
    cover.add(frame.instr_ptr, 8);
    cover.add(frame.owner, 1);
    cover.add(frame.is_entry, 1);
    cover.add(frame.tlbc_index, 4);
    cover.add(frame.executing, 1);
    if (frame.executing) cover.add(frame.stackpointer, 8);
    cover.add(frame.state, 1);
    if (layout.stack_top == StackTop::kIndex) cover.add(frame.stackpointer, 4);
    if (layout.stack_top == StackTop::kPointer) cover.add(frame.stackpointer, 8);
    return cover.range();
}

RemoteRange thread_offsets(const Layout& layout) {
    const auto& thread = layout.thread_state;
    Cover cover;
    cover.add(thread.frame, 8);
    cover.add(thread.cframe, 8);
    cover.add(thread.current_frame, 8);
    cover.add(thread.datastack_chunk, 8);
    cover.add(thread.datastack_top, 8);
    cover.add(thread.id, 8);
    return cover.range();
}

RemoteRange at(RemoteAddr base, RemoteRange offsets) {
    return {base + offsets.begin.value, base + offsets.end.value};
}

/// Notices when an address comes again (Brent): a corrupt or torn chain may be a ring.
class CycleCheck {
  public:
    bool seen(RemoteAddr address) {
        if (address == mark_) return true;
        if (++steps_ == limit_) {
            limit_ *= 2;
            mark_ = address;
        }
        return false;
    }

  private:
    RemoteAddr mark_;
    std::uint64_t steps_ = 0;
    std::uint64_t limit_ = 2;
};

}  // namespace

/// Bytes of a target that stands still: fetched by pages when they are not there yet.
class StackReader::StillSource {
  public:
    explicit StillSource(memory::MemoryCopy& pages) : pages_(pages) {}

    Result<std::span<const std::byte>> view(RemoteRange range) {
        if (const auto held = pages_.view(range.begin, range.size())) return *held;
        const RemoteAddr end{(range.end.value + kPage - 1) & ~(kPage - 1)};
        const RemoteAddr page{range.begin.value & ~(kPage - 1)};
        const RemoteAddr below{page.value - std::min(page.value, kFetchBelow)};
        // In two pieces: what lies below may be unmapped, which must not cost the page itself.
        const std::array<RemoteRange, 2> wanted{RemoteRange{page, end}, RemoteRange{below, page}};
        pages_.fetch(wanted);
        if (const auto held = pages_.view(range.begin, range.size())) return *held;
        return fail(read_fault(range.begin, range.size()));
    }

  private:
    memory::MemoryCopy& pages_;
};

/// Bytes of the first of the two copies; what was not planned is a miss.
class StackReader::CopySource {
  public:
    CopySource(const StackReader& reader, const ReadPlan& plan) : reader_(reader), plan_(plan) {}

    Result<std::span<const std::byte>> view(RemoteRange range) {
        const auto offset = reader_.offset_of(plan_, range.begin, range.size());
        if (!offset) return fail(read_fault(range.begin, range.size()));
        return std::span(reader_.first_copy_).subspan(*offset, range.size());
    }

  private:
    const StackReader& reader_;
    const ReadPlan& plan_;
};

StackReader::StackReader(const memory::MemoryReader& memory, const Layout& layout,
                         std::size_t max_depth)
    : memory_(memory),
      layout_(layout),
      max_depth_(max_depth),
      header_(header_offsets(layout)),
      thread_(thread_offsets(layout)),
      pages_(memory) {}

template <class Source>
Result<RemoteAddr> StackReader::first_frame(Source& source, RemoteAddr thread_state) const {
    PYSTACK_TRY(bytes, source.view(at(thread_state, thread_)));
    const RemoteStruct thread(thread_state, bytes);
    const auto field = [&](FieldOffset offset) {
        return thread.pointer(*offset - thread_.begin.value).value_or(RemoteAddr{});
    };
    switch (layout_.frame_chain) {
        case FrameChain::kFrameObject:
            return field(layout_.thread_state.frame);
        case FrameChain::kCurrentFrame:
            return field(layout_.thread_state.current_frame);
        case FrameChain::kCFrame:
            break;
    }
    const RemoteAddr cframe = field(layout_.thread_state.cframe);
    if (!cframe) return RemoteAddr{};
    const RemoteAddr current = cframe + *layout_.cframe.current_frame;
    PYSTACK_TRY(pointer, source.view({current, current + 8}));
    return RemoteStruct(current, pointer).pointer(0).value_or(RemoteAddr{});
}

Result<RawFrame> StackReader::parse(RemoteAddr address, std::span<const std::byte> header,
                                    RemoteAddr& previous) const {
    const auto& fields = layout_.interpreter_frame;
    const RemoteStruct bytes(address, header);
    const auto offset = [&](FieldOffset field) { return *field - header_.begin.value; };
    RawFrame frame{.address = address};
    previous = bytes.pointer(offset(fields.previous)).value_or(RemoteAddr{});
    frame.code = bytes.pointer(offset(fields.executable)).value_or(RemoteAddr{});
    const bool is_index = layout_.instruction == Instruction::kByteIndex ||
                          layout_.instruction == Instruction::kUnitIndex;
    if (is_index) {
        const auto lasti = bytes.get<std::int32_t>(offset(fields.instr_ptr)).value_or(-1);
        frame.instruction = static_cast<std::uint64_t>(std::int64_t{lasti});
    } else {
        frame.instruction = bytes.get<std::uint64_t>(offset(fields.instr_ptr)).value_or(0);
    }
    if (fields.owner) frame.owner = bytes.get<std::uint8_t>(offset(fields.owner)).value_or(0);
    if (frame.owner > kMaxOwner) return fail(corrupt("frame owner", address));
    if (fields.is_entry)
        frame.is_entry = bytes.get<std::uint8_t>(offset(fields.is_entry)).value_or(0) != 0;
    if (fields.tlbc_index)
        frame.tlbc_index = bytes.get<std::int32_t>(offset(fields.tlbc_index)).value_or(0);
    if (fields.executing) {
        // generator.throw() links a suspended generator into the chain, which has a stack pointer
        // instead.
        frame.calls = bytes.get<std::uint8_t>(offset(fields.executing)).value_or(0) != 0 ||
                      bytes.get<std::uint64_t>(offset(fields.stackpointer)).value_or(0) != 0;
    } else if (fields.state) {
        frame.calls = bytes.get<std::int8_t>(offset(fields.state)).value_or(-1) == kFrameExecuting;
    } else if (layout_.stack_top == StackTop::kIndex) {
        frame.calls = bytes.get<std::int32_t>(offset(fields.stackpointer)).value_or(-1) >= 0;
    } else if (layout_.stack_top == StackTop::kPointer) {
        frame.calls = bytes.get<std::uint64_t>(offset(fields.stackpointer)).value_or(0) != 0;
    }
    frame.shim = layout_.entry_mark == EntryMark::kOwner && frame.owner >= layout_.first_shim_owner;
    // 3.13 leaves any object in a shim frame; the low bits of a _PyStackRef are flags.
    if (layout_.stack_ref != StackRef::kPointer) frame.code.value &= ~std::uint64_t{3};
    if (!frame.shim && !frame.code) return fail(corrupt("code of a frame", address));
    return frame;
}

template <class Source>
StackOutcome StackReader::walk(Source& source, RemoteAddr thread_state,
                               std::vector<RawFrame>& frames) const {
    frames.clear();
    auto next = first_frame(source, thread_state);
    CycleCheck cycle;
    while (next && *next) {
        if (frames.size() >= max_depth_) return {.end = StackEnd::kDepthLimit, .problem = {}};
        if (next->value % alignof(void*) != 0 || cycle.seen(*next)) {
            return {.end = StackEnd::kUnreadable, .problem = corrupt("chain of frames", *next)};
        }
        const auto header = source.view(at(*next, header_));
        if (!header) return {.end = StackEnd::kUnreadable, .problem = header.error()};
        RemoteAddr previous;
        auto frame = parse(*next, *header, previous);
        if (!frame) return {.end = StackEnd::kUnreadable, .problem = frame.error()};
        frames.push_back(*frame);
        next = previous;
    }
    if (!next) return {.end = StackEnd::kUnreadable, .problem = next.error()};
    if (!frames.empty() && !is_outermost(frames.back())) {
        return {.end = StackEnd::kUnreadable,
                .problem = corrupt("link to the caller of a frame", frames.back().address)};
    }
    return {.end = frames.empty() ? StackEnd::kNoPython : StackEnd::kComplete, .problem = {}};
}

bool StackReader::is_outermost(const RawFrame& frame) const {
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

StackOutcome StackReader::read_still(RemoteAddr thread_state, std::vector<RawFrame>& frames) {
    pages_.clear();
    StillSource source(pages_);
    return walk(source, thread_state, frames);
}

StackOutcome StackReader::read_moving(RemoteAddr thread_state, ReadPlan& plan, int attempts,
                                      std::vector<RawFrame>& frames) {
    StackOutcome outcome{.end = StackEnd::kTorn, .problem = {}, .attempts = 0};
    while (outcome.attempts < attempts) {
        ++outcome.attempts;
        if (plan.ranges.empty() || plan.ranges.front() != at(thread_state, thread_)) {
            read_still(thread_state, frames);  // Torn, most likely: only says where to look.
            plan_from(thread_state, frames, plan);
        }
        const bool in_time = read_twice(plan);
        if (plan_sizes_.front() < thread_.size()) {
            outcome.problem = read_fault(thread_state, thread_.size());
            outcome.end = StackEnd::kUnreadable;
            return outcome;
        }
        if (!in_time) continue;
        CopySource source(*this, plan);
        const StackOutcome walked = walk(source, thread_state, frames);
        const bool whole = walked.end != StackEnd::kUnreadable;
        if (whole && callers_call(frames) && copies_agree(plan, frames)) {
            outcome.end = walked.end;
            plan_from(thread_state, frames, plan);
            return outcome;
        }
        outcome.problem = walked.problem;
        // A frame elsewhere needs a new plan; a mere disagreement is tried again as it is.
        if (!whole && walked.problem->code == ErrorCode::kReadFault) plan.ranges.clear();
    }
    return outcome;
}

bool StackReader::callers_call(std::span<const RawFrame> frames) const {
    const bool on_data_stack = layout_.frame_chain != FrameChain::kFrameObject;
    for (std::size_t i = 1; i < frames.size(); ++i) {
        // A frame called through C runs in a new activation, and its caller's loop has not saved
        // anything. generator.throw() is such a call, too, and makes no activation
        // [Objects/genobject.c: _gen_throw].
        const bool is_generator = on_data_stack && frames[i - 1].owner == layout_.generator_owner;
        const bool called_directly =
            !frames[i - 1].shim && !frames[i - 1].is_entry && !is_generator;
        if (called_directly && !frames[i].shim && !frames[i].calls) return false;
    }
    return true;
}

void StackReader::plan_from(RemoteAddr thread_state, std::span<const RawFrame> frames,
                            ReadPlan& plan) const {
    plan.ranges.clear();
    plan.ranges.push_back(at(thread_state, thread_));
    if (layout_.frame_chain == FrameChain::kCFrame) {
        // Its address can only be learned from the thread state; the root one lies in the thread
        // state.
        if (const auto cframe = memory_.read_pointer(thread_state + *layout_.thread_state.cframe)) {
            const RemoteAddr current = *cframe + *layout_.cframe.current_frame;
            plan.ranges.push_back({current, current + 8});
        }
    }
    for (const RawFrame& frame : frames) {
        RemoteRange wanted = at(frame.address, header_);
        const bool on_data_stack = layout_.frame_chain != FrameChain::kFrameObject && !frame.shim &&
                                   frame.owner != layout_.generator_owner;
        if (on_data_stack && plan.ranges.size() > first_frame_range()) {
            RemoteRange& last = plan.ranges.back();
            if (wanted.begin < last.begin && last.begin - wanted.begin < kMaxGap) {
                last.begin = wanted.begin;
                continue;
            }
        }
        // Not past the page: what follows may be unmapped, and the piece would be cut anyway.
        if (on_data_stack && plan.ranges.size() == first_frame_range()) {
            wanted.end =
                std::min(wanted.end + kSlack, RemoteAddr{(wanted.end.value | (kPage - 1)) + 1});
        }
        plan.ranges.push_back(wanted);
    }
}

bool StackReader::read_twice(const ReadPlan& plan) {
    std::size_t total = 0;
    plan_offsets_.clear();
    for (const RemoteRange& range : plan.ranges) {
        plan_offsets_.push_back(total);
        total += range.size();
    }
    if (first_copy_.size() < total) {
        first_copy_.resize(total);
        second_copy_.resize(total);
    }
    const std::size_t count = plan.ranges.size();
    requests_.clear();
    const auto add = [&](std::vector<std::byte>& copy, std::size_t i) {
        requests_.push_back({plan.ranges[i].begin,
                             std::span(copy).subspan(plan_offsets_[i], plan.ranges[i].size())});
    };
    // Outermost frames first and last, which change least; the thread state in the middle.
    for (std::size_t i = count - 1; i > 0; --i) add(first_copy_, i);
    add(first_copy_, 0);
    for (std::size_t i = 1; i < count; ++i) add(second_copy_, i);
    const auto begin = std::chrono::steady_clock::now();
    memory_.read_many(requests_);
    const auto took = std::chrono::steady_clock::now() - begin;
    plan_sizes_.resize(count);
    plan_sizes_[0] = requests_[count - 1].done;
    for (std::size_t i = 1; i < count; ++i) {
        plan_sizes_[i] = std::min(requests_[count - 1 - i].done, requests_[count - 1 + i].done);
    }
    last_range_ = 0;
    const auto pieces = static_cast<std::int64_t>(requests_.size());
    fastest_piece_ns_ =
        std::min<std::int64_t>(fastest_piece_ns_, took / std::chrono::nanoseconds(pieces));
    return took <= kLongestRead +
                       std::chrono::nanoseconds(kLongestReadInPieces * pieces * fastest_piece_ns_) +
                       kLongestReadPerMiB * total / (1 << 20);
}

std::optional<std::size_t> StackReader::offset_of(const ReadPlan& plan, RemoteAddr address,
                                                  std::size_t size) const {
    const std::size_t count = plan.ranges.size();
    for (std::size_t step = 0; step < count; ++step) {
        const std::size_t i = (last_range_ + step) % count;
        const RemoteAddr begin = plan.ranges[i].begin;
        if (begin <= address && address - begin <= plan_sizes_[i] &&
            plan_sizes_[i] - (address - begin) >= size) {
            last_range_ = i;
            return plan_offsets_[i] + (address - begin);
        }
    }
    return std::nullopt;
}

bool StackReader::same_bytes(const ReadPlan& plan, RemoteRange range) const {
    const auto offset = offset_of(plan, range.begin, range.size());
    return offset && std::memcmp(first_copy_.data() + *offset, second_copy_.data() + *offset,
                                 range.size()) == 0;
}

bool StackReader::copies_agree(const ReadPlan& plan, std::span<const RawFrame> frames) const {
    // Ranges before the first frame: the thread state, read once, and the C frame's pointer.
    for (std::size_t i = 1; i < first_frame_range(); ++i) {
        if (!same_bytes(plan, plan.ranges[i])) return false;
    }
    const auto& fields = layout_.interpreter_frame;
    for (std::size_t i = 0; i < frames.size(); ++i) {
        const RemoteAddr address = frames[i].address;
        if (i == 0) {
            // The innermost frame runs: its instruction and its values change, its identity does
            // not.
            for (const FieldOffset field : {fields.previous, fields.executable}) {
                if (!same_bytes(plan, {address + *field, address + *field + 8})) return false;
            }
            if (fields.owner &&
                !same_bytes(plan, {address + *fields.owner, address + *fields.owner + 1})) {
                return false;
            }
            continue;
        }
        // A caller stands still: header, and its variables and values where they were read, up to
        // the frame it called.
        RemoteRange range = at(address, header_);
        const RemoteAddr callee = frames[i - 1].address;
        const bool on_data_stack = layout_.frame_chain != FrameChain::kFrameObject;
        if (on_data_stack && callee > range.end && callee - address < kMaxGap) {
            const RemoteRange values{range.begin, callee};
            if (offset_of(plan, values.begin, values.size())) range = values;
        }
        if (!same_bytes(plan, range)) return false;
    }
    return true;
}

}  // namespace pystack::cpython
