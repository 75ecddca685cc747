#include "snapshot/loop_times.h"

#include <algorithm>
#include <string_view>

#include "cpython/values/code_variables.h"
#include "snapshot/stack_ends.h"

namespace pystack::snapshot {

namespace {

bool is_run_once(const cpython::Code& code) {
    return code.function.view() == "_run_once" &&
           code.file.view().ends_with("asyncio/base_events.py");
}

}  // namespace

void LoopTimes::find_code(const RawSnapshot& raw) {
    for (const RawThread& thread : raw.threads) {
        for (const cpython::RawFrame& frame : thread.frames) {
            if (variables_.contains(frame.code)) continue;
            const cpython::Code* code = code_of(raw, frame);
            if (code == nullptr || !is_run_once(*code)) continue;
            objects_.load(memory_, *code);
            cpython::CodeVariables declared;
            if (!cpython::read_code_variables(memory_, layout_, *code, declared)) continue;
            const auto slot = std::ranges::find_if(
                declared.slots, [](const auto& one) { return one.name == "end_time"; });
            if (slot != declared.slots.end()) variables_.emplace(frame.code, slot->index);
        }
    }
}

std::unordered_map<std::size_t, double> LoopTimes::read(const RawSnapshot& raw) {
    std::unordered_map<std::size_t, double> times;
    if (variables_.empty()) return times;
    types_.clear();
    for (std::size_t i = 0; i < raw.threads.size(); ++i) {
        for (const cpython::RawFrame& frame : raw.threads[i].frames) {
            const auto variable = variables_.find(frame.code);
            if (variable == variables_.end()) continue;
            const cpython::Code* code = code_of(raw, frame);
            const auto time = code == nullptr ? std::nullopt : read(*code, frame, variable->second);
            if (time) times.emplace(i, *time);
            break;
        }
    }
    return times;
}

std::optional<double> LoopTimes::read(const cpython::Code& code, const cpython::RawFrame& frame,
                                      std::uint32_t variable) {
    const RemoteAddr value = objects_.variable(memory_, code, frame, variable, types_);
    if (!value) return std::nullopt;
    const auto type = types_.of(value);
    if (!type || (*type)->kind != cpython::ValueKind::kFloat || !layout_.float_object.ob_fval)
        return std::nullopt;
    const auto time = memory_.read_value<double>(value + *layout_.float_object.ob_fval);
    return time ? std::optional(*time) : std::nullopt;
}

}  // namespace pystack::snapshot
