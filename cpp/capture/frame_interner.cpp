#include "capture/frame_interner.h"

#include <algorithm>

namespace pystack::capture {

using cpython::Code;
using cpython::RawFrame;

namespace {

/// In place of the offset of an instruction that does not lie in its code object.
constexpr std::int64_t kOutside = -2;
/// Names of tasks that are told apart.
constexpr std::size_t kMostTasks = 1000;

}  // namespace

void FrameInterner::use(cpython::CodeReader& codes) {
    codes_ = &codes;
    frame_ids_.clear();
    call_ids_.clear();
    calls_proved_.clear();
    call_failures_.clear();
    start_anew();
}

FrameInterner::Outcome FrameInterner::intern(std::span<const RawFrame> frames,
                                             std::size_t unchanged,
                                             std::optional<model::FrameId> task,
                                             InternedStack& interned) {
    auto& entries = interned.entries;
    if (interned.epoch != epoch_) unchanged = 0;
    // Of what could not be interned to its end, the rest is not known.
    unchanged = std::min({unchanged, entries.size(), frames.size()});
    if (interned.task != task) unchanged = std::min(unchanged, interned.task_at);
    if (unchanged <= interned.task_at) interned.task_at = frames.size();
    interned.task = task;
    interned.epoch = epoch_;
    entries.resize(unchanged);
    model::StackId stack = interned.id();
    std::optional<model::FrameId> caller;
    for (std::size_t i = unchanged; i-- > 0 && !caller;) {
        if (entries[i].shown) caller = entries[i].frame;
    }
    for (std::size_t i = unchanged; i < frames.size(); ++i) {
        const RawFrame& frame = frames[i];
        InternedStack::Entry entry{.stack = stack};
        if (!frame.shim) {
            entry.code = codes_->find(frame.code);
            if (entry.code == nullptr) return Outcome::kUnknownCode;
            auto offset =
                entry.code->problem ? std::nullopt : codes_->instruction_offset(*entry.code, frame);
            if (!offset && !is_still_) return Outcome::kUnfit;
            entry.shown = !entry.code->problem && !codes_->is_incomplete(*entry.code, frame);
            if (!offset) offset = kOutside;
            if (entry.shown) {
                if (caller && !is_proved_call(*caller, *entry.code)) return Outcome::kUnproved;
                if (interned.task_at == frames.size() && entry.code->is_coroutine()) {
                    interned.task_at = i;
                    if (task) stack = stacks_.push(stack, *task);
                }
                entry.frame = frame_id(*entry.code, *offset);
                entry.stack = stack = stacks_.push(stack, entry.frame);
                caller = entry.frame;
            }
        }
        entries.push_back(entry);
    }
    return Outcome::kDone;
}

model::FrameId FrameInterner::task_frame(const std::string& name) {
    const bool is_one_of_many = task_frames_.size() >= kMostTasks && !task_frames_.contains(name);
    const auto [place, added] = task_frames_.try_emplace(is_one_of_many ? "" : name, 0);
    if (added) {
        place->second = marker_frame(is_one_of_many ? "<other tasks>" : "<task " + name + ">");
    }
    return place->second;
}

model::FrameId FrameInterner::marker_frame(const std::string& text) {
    const auto id = static_cast<model::FrameId>(frames_.size());
    frames_.push_back({.kind = model::FrameKind::kMarker,
                       .function = strings_.intern(text),
                       .file = 0,
                       .line = -1,
                       .first_line = -1});
    return id;
}

model::FrameId FrameInterner::native_frame(const std::string& function, const std::string& file,
                                           std::int32_t line) {
    const NativeRow row{strings_.intern(function), strings_.intern(file), line};
    const auto [place, added] =
        native_frames_.try_emplace(row, static_cast<model::FrameId>(frames_.size()));
    if (added) {
        frames_.push_back({.kind = model::FrameKind::kNative,
                           .function = row.function,
                           .file = row.file,
                           .line = line,
                           .first_line = -1});
    }
    return place->second;
}

std::optional<FrameInterner::StillFrame> FrameInterner::still_frame(const RawFrame& frame) {
    if (frame.shim) return std::nullopt;
    const Code* code = codes_->find(frame.code);
    if (code == nullptr || code->problem || codes_->is_incomplete(*code, frame))
        return std::nullopt;
    const auto offset = codes_->instruction_offset(*code, frame);
    return StillFrame{frame_id(*code, offset.value_or(kOutside)), code->is_coroutine()};
}

bool FrameInterner::looks_cut(const InternedStack& stack) const {
    for (const InternedStack::Entry& entry : stack.entries) {
        if (entry.code != nullptr) return entry.code->is_generator();
    }
    return false;
}

bool FrameInterner::is_proved_call(model::FrameId caller, const Code& callee) {
    if (is_still_) return true;
    const auto fresh = static_cast<CallId>(calls_proved_.size());
    const CallId call =
        call_ids_.find_or_insert((std::uint64_t{caller} << 32) | callee.index, fresh);
    if (call == fresh) {
        calls_proved_.push_back(false);
        call_failures_.push_back(0);
    }
    if (calls_proved_[call]) return true;
    unproved_ = call;
    return false;
}

model::FrameId FrameInterner::frame_id(const Code& code, std::int64_t offset) {
    const auto fresh = static_cast<model::FrameId>(frames_.size());
    const std::uint64_t key =
        (std::uint64_t{code.index} << 32) | static_cast<std::uint32_t>(offset);
    const model::FrameId id = frame_ids_.find_or_insert(key, fresh);
    if (id == fresh) {
        frames_.push_back(
            {.kind = model::FrameKind::kPython,
             .function = strings_.intern(code.qualname.value_or(code.function)),
             .file = strings_.intern(code.file),
             .line = offset == kOutside ? -1 : codes_->position(code, offset).line.value_or(-1),
             .first_line = code.identity.first_line});
    }
    return id;
}

}  // namespace pystack::capture
