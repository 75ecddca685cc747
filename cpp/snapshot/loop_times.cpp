#include "snapshot/loop_times.h"

#include "cpython/objects/typed_values.h"

namespace pystack::snapshot {

std::unordered_map<std::size_t, double> LoopTimes::read(const RawSnapshot& raw) {
    std::unordered_map<std::size_t, double> times;
    types_.clear();
    for (const auto& [thread, value] : end_time_.read(raw)) {
        if (const auto time = cpython::float_value(memory_, layout_, types_, value))
            times.emplace(thread, *time);
    }
    return times;
}

}  // namespace pystack::snapshot
