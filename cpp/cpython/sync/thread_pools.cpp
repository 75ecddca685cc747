#include "cpython/sync/thread_pools.h"

#include "cpython/objects/typed_values.h"
#include "cpython/sync/simple_queues.h"
#include "cpython/values/code_variables.h"

namespace pystack::cpython {

namespace {

constexpr std::size_t kMostQueued = 1000;

bool is_in_module(const Code& code) {
    return code.file.view().ends_with("concurrent/futures/thread.py");
}

}  // namespace

bool ThreadPools::is_worker(const Code& code) {
    return code.function == "_worker" && is_in_module(code);
}

bool ThreadPools::is_work(const Code& code) {
    return code.function == "run" && is_in_module(code);
}

std::optional<ThreadPools::Pool> ThreadPools::pool_of(const Code& code, const RawFrame& frame) {
    CodeVariables declared;
    if (!read_code_variables(memory_, layout_, code, declared)) return std::nullopt;
    Pool pool;
    RemoteAddr reference;
    for (const CodeVariables::Slot& slot : declared.slots) {
        if (slot.name == "work_queue")
            pool.queue = objects_.variable(memory_, code, frame, slot.index, types_);
        if (slot.name == "executor_reference")
            reference = objects_.variable(memory_, code, frame, slot.index, types_);
    }
    if (!pool.queue) return std::nullopt;
    // A weak reference has its object behind its head [Include/cpython/weakrefobject.h].
    if (!reference || layout_.pyobject.struct_size == 0) return pool;
    const auto executor = memory_.read_pointer(reference + layout_.pyobject.struct_size);
    const RemoteAddr most = executor ? attributes_.get(*executor, "_max_workers") : RemoteAddr{};
    const auto number = int_value(memory_, layout_, types_, most);
    if (number && *number > 0) pool.most_workers = static_cast<std::uint64_t>(*number);
    return pool;
}

RemoteAddr ThreadPools::future_of(const Code& code, const RawFrame& frame) {
    const RemoteAddr work = objects_.first_argument(memory_, code, frame, types_);
    return attributes_.get(work, "future");
}

std::vector<RemoteAddr> ThreadPools::queued_futures(RemoteAddr queue) {
    std::vector<RemoteAddr> futures;
    if (!is_a(types_, queue, ValueKind::kSimpleQueue)) return futures;
    for (const RemoteAddr work : simple_queue_items(memory_, layout_, types_, queue, kMostQueued)) {
        if (const RemoteAddr future = attributes_.get(work, "future")) futures.push_back(future);
    }
    return futures;
}

}  // namespace pystack::cpython
