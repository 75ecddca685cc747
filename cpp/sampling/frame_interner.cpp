#include "sampling/frame_interner.h"

#include <algorithm>

namespace pystack::sampling {

using cpython::Code;
using cpython::RawFrame;

namespace {

/// The place of an instruction that does not lie in its code object.
constexpr std::int64_t kOutside = -2;
/// The caller of an outermost frame: no frame has this number.
constexpr model::FrameId kNoCaller = ~model::FrameId{0};
/// Names of tasks that are told apart.
constexpr std::size_t kMostTasks = 1000;

// What a row takes in all tables that have it: here with the maps that find it, in the batches on
// their way, and in the profile.
constexpr std::uint64_t kStringBytes = 200;
constexpr std::uint64_t kStringCopies = 3;
constexpr std::uint64_t kRowBytes = 224;
constexpr std::uint64_t kStackBytes = 80;

}  // namespace

void FrameInterner::use(cpython::CodeReader& codes) {
    codes_ = &codes;
    frame_ids_.clear();
    call_ids_.clear();
    calls_proved_.clear();
    call_failures_.clear();
    start_anew();
}

void FrameInterner::renew_tables() {
    strings_ = {};
    frames_ = {};
    stacks_ = {};
    task_frames_ = {};
    rows_ = {};
    left_out_.reset();
    use(*codes_);
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
            auto place = entry.code->problem ? std::nullopt : codes_->place(*entry.code, frame);
            if (!place && !is_stopped_) return Outcome::kUnfit;
            entry.shown = !entry.code->problem && !codes_->is_incomplete(*entry.code, frame);
            if (!place) place = kOutside;
            if (entry.shown) {
                // A compiled frame that has returned has lost its caller, and looks like one that
                // nobody called.
                const bool is_call = caller || frame.compiled;
                if (is_call && !is_proved_call(caller.value_or(kNoCaller), *entry.code))
                    return Outcome::kUnproved;
                if (interned.task_at == frames.size() && entry.code->is_coroutine()) {
                    interned.task_at = i;
                    if (task) stack = push(stack, *task);
                }
                entry.frame = frame_id(*entry.code, *place);
                entry.stack = stack = push(stack, entry.frame);
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

std::size_t FrameInterner::RowHash::operator()(const RowKey& key) const noexcept {
    constexpr std::uint64_t kMix = 0x9e3779b97f4a7c15U;
    std::uint64_t hash = (std::uint64_t{key.row.function} << 32) | key.row.file;
    hash = hash * kMix + static_cast<std::uint32_t>(key.row.line);
    hash = hash * kMix + static_cast<std::uint64_t>(key.place);
    hash = hash * kMix + key.row.address + key.row.inline_depth;
    return hash * kMix >> 16;
}

std::optional<model::StringId> FrameInterner::string_id(std::string_view text) {
    if (const auto known = strings_.find(text)) return known;
    if (!limits_->charge_bytes(kStringBytes + kStringCopies * text.size())) return std::nullopt;
    return strings_.intern(text);
}

model::FrameId FrameInterner::row_id(const RowKey& key) {
    if (const auto known = rows_.find(key); known != rows_.end()) return known->second;
    if (!limits_->charge_bytes(kRowBytes)) return left_out_frame();
    const auto id = static_cast<model::FrameId>(frames_.size());
    frames_.push_back(key.row);
    rows_.emplace(key, id);
    return id;
}

/// Beyond all limits, once.
model::FrameId FrameInterner::left_out_frame() {
    if (!left_out_) {
        left_out_ = static_cast<model::FrameId>(frames_.size());
        frames_.push_back({.kind = model::FrameKind::kMarker,
                           .function = strings_.intern("<left out: memory limit>")});
    }
    return *left_out_;
}

model::FrameId FrameInterner::marker_frame(std::string_view text) {
    const auto function = string_id(text);
    if (!function) return left_out_frame();
    return row_id({.row = {.kind = model::FrameKind::kMarker, .function = *function}});
}

model::FrameId FrameInterner::native_frame(const NativeFrame& frame) {
    const auto function = string_id(frame.function);
    const auto file = string_id(frame.file);
    const auto module = string_id(frame.module);
    const auto build_id = string_id(frame.build_id);
    if (!function || !file || !module || !build_id) return left_out_frame();
    return row_id({.row = {.kind = model::FrameKind::kNative,
                           .function = *function,
                           .file = *file,
                           .line = frame.line,
                           .module = *module,
                           .build_id = *build_id,
                           .address = frame.address,
                           .inline_depth = frame.inline_depth,
                           .name_source = frame.name_source}});
}

model::StackId FrameInterner::push(model::StackId callers, model::FrameId frame) {
    if (const auto known = stacks_.find(callers, frame)) return *known;
    if (limits_->charge_bytes(kStackBytes)) return stacks_.push(callers, frame);
    return stacks_.push(0, left_out_frame());
}

model::StackId FrameInterner::push_all(model::StackId callers, const InternedStack& stack) {
    for (std::size_t i = 0; i < stack.entries.size(); ++i) {
        if (stack.task && stack.task_at == i) callers = push(callers, *stack.task);
        if (stack.entries[i].shown) callers = push(callers, stack.entries[i].frame);
    }
    return callers;
}

std::optional<FrameInterner::StoppedFrame> FrameInterner::stopped_frame(const RawFrame& frame) {
    if (frame.shim) return std::nullopt;
    const Code* code = codes_->find(frame.code);
    if (code == nullptr || code->problem || codes_->is_incomplete(*code, frame))
        return std::nullopt;
    const auto place = codes_->place(*code, frame);
    return StoppedFrame{frame_id(*code, place.value_or(kOutside)), code->is_coroutine()};
}

bool FrameInterner::is_truncated(const InternedStack& stack) const {
    for (const InternedStack::Entry& entry : stack.entries) {
        if (entry.code != nullptr) return entry.code->is_generator();
    }
    return false;
}

bool FrameInterner::is_proved_call(model::FrameId caller, const Code& callee) {
    const auto fresh = static_cast<CallId>(calls_proved_.size());
    const CallId call =
        call_ids_.find_or_insert((std::uint64_t{caller} << 32) | callee.index, fresh);
    if (call == fresh) {
        calls_proved_.push_back(false);
        call_failures_.push_back(0);
    }
    // What a thread that stands still shows is a call that the program makes.
    if (is_stopped_) calls_proved_[call] = true;
    if (calls_proved_[call]) return true;
    unproved_ = call;
    return false;
}

model::FrameId FrameInterner::frame_id(const Code& code, std::int64_t place) {
    const std::uint64_t key = (std::uint64_t{code.index} << 32) | static_cast<std::uint32_t>(place);
    if (const std::uint32_t* known = frame_ids_.find(key)) return *known;
    const auto function = string_id(code.qualname.value_or(code.function));
    const auto file = string_id(code.file);
    if (!function || !file) return left_out_frame();
    const auto line = place == kOutside ? std::nullopt : codes_->position(code, place).line;
    // A code object that was made anew, of the same source, has the rows of the one before.
    const model::FrameId id = row_id({.row = {.kind = model::FrameKind::kPython,
                                              .function = *function,
                                              .file = *file,
                                              .line = line.value_or(-1),
                                              .first_line = code.identity.first_line},
                                      .place = place});
    frame_ids_.find_or_insert(key, id);
    return id;
}

}  // namespace pystack::sampling
