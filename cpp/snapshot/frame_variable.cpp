#include "snapshot/frame_variable.h"

#include <algorithm>

#include "cpython/sync/stack_ends.h"
#include "cpython/values/code_variables.h"

namespace pystack::snapshot {

void FrameVariable::find_code(const RawSnapshot& raw) {
    for (const RawThread& thread : raw.threads) {
        for (const cpython::RawFrame& frame : thread.frames) {
            if (variables_.contains(frame.code)) continue;
            const cpython::Code* code = cpython::code_of(raw.codes, frame);
            if (code == nullptr || code->function.view() != wanted_.function ||
                !code->file.view().ends_with(wanted_.file)) {
                continue;
            }
            objects_.load(memory_, *code);
            cpython::CodeVariables declared;
            if (!cpython::read_code_variables(memory_, layout_, *code, declared)) continue;
            const auto slot = std::ranges::find_if(
                declared.slots, [this](const auto& one) { return one.name == wanted_.variable; });
            if (slot != declared.slots.end()) variables_.emplace(frame.code, slot->index);
        }
    }
}

std::unordered_map<std::size_t, RemoteAddr> FrameVariable::read(const RawSnapshot& raw) {
    std::unordered_map<std::size_t, RemoteAddr> found;
    if (variables_.empty()) return found;
    types_.clear();
    for (std::size_t i = 0; i < raw.threads.size(); ++i) {
        for (const cpython::RawFrame& frame : raw.threads[i].frames) {
            const auto variable = variables_.find(frame.code);
            if (variable == variables_.end()) continue;
            const cpython::Code* code = cpython::code_of(raw.codes, frame);
            const RemoteAddr object = code == nullptr ? RemoteAddr{}
                                                      : objects_.variable(memory_, *code, frame,
                                                                          variable->second, types_);
            if (object) found.emplace(i, object);
            break;
        }
    }
    return found;
}

}  // namespace pystack::snapshot
