#include "cpython/sync/loop_futures.h"

#include <algorithm>
#include <iterator>

#include "cpython/objects/sequences.h"

namespace pystack::cpython {

namespace {

constexpr std::size_t kMostCallbacks = 100;
constexpr std::size_t kMostReady = 1000;
/// What a future calls when it is done that another future, of a task, completes.
constexpr std::string_view kChained = "_chain_future.<locals>._call_check_cancel";
/// What a loop calls to make a task of a coroutine from another thread.
constexpr std::string_view kBegins = "run_coroutine_threadsafe.<locals>.callback";

}  // namespace

bool LoopFutures::is_loop(const Code& code) {
    return code.function == "_run_once" && code.file.view().ends_with("asyncio/base_events.py");
}

RemoteAddr LoopFutures::loop_of(const Code& code, const RawFrame& frame) {
    return objects_.first_argument(memory_, code, frame, types_);
}

bool LoopFutures::has_task(RemoteAddr loop, RemoteAddr future) {
    if (!loop || !future) return false;
    const RemoteAddr list = attributes_.get(future, "_done_callbacks");
    return std::ranges::any_of(list_items(memory_, layout_, types_, list, kMostCallbacks),
                               [&](RemoteAddr callback) {
                                   if (callbacks_.function_name(callback) != kChained) return false;
                                   const auto subjects = callbacks_.subjects(callback);
                                   return std::ranges::find(subjects, loop) != subjects.end();
                               });
}

std::vector<RemoteAddr> LoopFutures::not_begun(RemoteAddr loop) {
    std::vector<RemoteAddr> objects;
    if (!loop) return objects;
    const RemoteAddr ready = attributes_.get(loop, "_ready");
    for (const RemoteAddr handle : deque_items(memory_, layout_, types_, ready, kMostReady)) {
        const RemoteAddr callback = attributes_.get(handle, "_callback");
        if (callbacks_.function_name(callback) != kBegins) continue;
        std::ranges::copy(callbacks_.subjects(callback), std::back_inserter(objects));
    }
    return objects;
}

}  // namespace pystack::cpython
