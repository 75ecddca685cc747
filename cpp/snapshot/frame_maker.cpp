#include "snapshot/frame_maker.h"

#include <utility>

namespace pystack::snapshot {

namespace {

using cpython::RawFrame;

constexpr std::int64_t kNoPlace = -2;

}  // namespace

void leave_out_frame(model::Thread& thread, const std::string& reason) {
    if (thread.stack_end == model::StackEnd::kComplete)
        thread.stack_end = model::StackEnd::kUnreadable;
    if (thread.stack_problem.empty()) thread.stack_problem = "a frame was left out: " + reason;
}

void FrameMaker::add(const RawThread& read, std::size_t index, model::Thread& thread) {
    const RawFrame& raw_frame = read.frames[index];
    if (raw_frame.shim) return;
    const cpython::Code* code = raw_.codes.find(raw_frame.code);
    const bool is_left_out =
        code != nullptr && code->problem && code->problem->code == ErrorCode::kOutOfMemory;
    if (!is_left_out && (code == nullptr || code->problem)) {
        leave_out_frame(thread, code != nullptr ? code->problem->message() : "code object unknown");
        return;
    }
    const model::Frame* made = make(raw_frame);
    if (made == nullptr) return;
    model::Frame frame = *made;
    if (index < read.variables.size()) frame.variables = read.variables[index];
    const std::int64_t interpreter = raw_.walked.interpreters[read.state.interpreter].id;
    if (thread.interpreter_id != interpreter) frame.interpreter_id = interpreter;
    thread.frames.push_back(std::move(frame));
}

const model::Frame* FrameMaker::make(const RawFrame& raw_frame) {
    const cpython::Code* code = raw_frame.shim ? nullptr : raw_.codes.find(raw_frame.code);
    if (code == nullptr) return nullptr;
    if (code->problem) return code->problem->code == ErrorCode::kOutOfMemory ? &left_out_ : nullptr;
    if (raw_.codes.is_incomplete(*code, raw_frame)) return nullptr;
    return &frame_at(*code, raw_frame);
}

const model::Frame& FrameMaker::frame_at(const cpython::Code& code, const RawFrame& raw_frame) {
    const auto place_in_code = raw_.codes.place(code, raw_frame);
    const std::uint64_t key = (std::uint64_t{code.index} << 32) |
                              static_cast<std::uint32_t>(place_in_code.value_or(kNoPlace));
    const auto fresh = static_cast<std::uint32_t>(frames_.size());
    const std::uint32_t place = places_.find_or_insert(key, fresh);
    if (place != fresh) return frames_[place];
    model::Frame frame;
    frame.function = code.function;
    frame.qualname = code.qualname;
    frame.file = code.file;
    frame.first_line = code.identity.first_line;
    if (place_in_code) frame.position = raw_.codes.position(code, *place_in_code);
    return frames_.emplace_back(std::move(frame));
}

}  // namespace pystack::snapshot
