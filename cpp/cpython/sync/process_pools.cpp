#include "cpython/sync/process_pools.h"

#include <limits>

#include "cpython/objects/dict_objects.h"
#include "cpython/objects/typed_values.h"
#include "cpython/values/code_variables.h"

namespace pystack::cpython {

namespace {

constexpr std::size_t kMostWork = 1000;
constexpr std::size_t kMostProcesses = 1000;
/// 3.9 and later: a method of a Thread; before that, a function with all it needs as arguments.
constexpr std::string_view kMethod = "run";
constexpr std::string_view kFunction = "_queue_management_worker";

}  // namespace

bool ProcessPools::is_manager(const Code& code) {
    return (code.function == kMethod || code.function == kFunction) &&
           code.file.view().ends_with("concurrent/futures/process.py");
}

ProcessPools::Dicts ProcessPools::dicts_of(const Code& code, const RawFrame& frame) {
    Dicts dicts;
    if (code.function == kMethod) {
        const RemoteAddr manager = objects_.first_argument(memory_, code, frame, types_);
        if (!manager) return dicts;
        dicts.processes = attributes_.get(manager, "processes");
        dicts.work = attributes_.get(manager, "pending_work_items");
        return dicts;
    }
    CodeVariables declared;
    if (!read_code_variables(memory_, layout_, code, declared)) return dicts;
    for (const CodeVariables::Slot& slot : declared.slots) {
        if (slot.name == "processes")
            dicts.processes = objects_.variable(memory_, code, frame, slot.index, types_);
        if (slot.name == "pending_work_items")
            dicts.work = objects_.variable(memory_, code, frame, slot.index, types_);
    }
    return dicts;
}

std::optional<ProcessPools::Pool> ProcessPools::pool_of(const Code& code, const RawFrame& frame) {
    const Dicts dicts = dicts_of(code, frame);
    if (!is_a(types_, dicts.processes, ValueKind::kDict) ||
        !is_a(types_, dicts.work, ValueKind::kDict)) {
        return std::nullopt;
    }
    Pool pool;
    (void)for_each_dict_item(
        memory_, layout_, dicts.processes, kMostProcesses, [&](RemoteAddr key, RemoteAddr) {
            const auto pid = int_value(memory_, layout_, types_, key);
            if (pid && *pid > 0 && *pid <= std::numeric_limits<std::int32_t>::max())
                pool.processes.push_back(static_cast<std::int32_t>(*pid));
            return true;
        });
    (void)for_each_dict_item(memory_, layout_, dicts.work, kMostWork,
                             [&](RemoteAddr, RemoteAddr item) {
                                 if (const RemoteAddr future = attributes_.get(item, "future"))
                                     pool.futures.push_back(future);
                                 return true;
                             });
    return pool;
}

}  // namespace pystack::cpython
