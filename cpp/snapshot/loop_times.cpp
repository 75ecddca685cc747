#include "snapshot/loop_times.h"

namespace pystack::snapshot {

std::unordered_map<std::size_t, double> LoopTimes::read(const RawSnapshot& raw) {
    std::unordered_map<std::size_t, double> times;
    types_.clear();
    for (const auto& [thread, value] : end_time_.read(raw)) {
        if (const auto time = to_seconds(value)) times.emplace(thread, *time);
    }
    return times;
}

std::optional<double> LoopTimes::to_seconds(RemoteAddr value) {
    const auto type = types_.of(value);
    if (!type || (*type)->kind != cpython::ValueKind::kFloat || !layout_.float_object.ob_fval)
        return std::nullopt;
    const auto time = memory_.read_value<double>(value + *layout_.float_object.ob_fval);
    return time ? std::optional(*time) : std::nullopt;
}

}  // namespace pystack::snapshot
