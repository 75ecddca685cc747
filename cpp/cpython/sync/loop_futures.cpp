#include "cpython/sync/loop_futures.h"

#include <algorithm>

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

bool LoopFutures::completes(RemoteAddr loop, RemoteAddr future) {
    return loop && future && (has_task(loop, future) || will_begin(loop, future));
}

bool LoopFutures::has_task(RemoteAddr loop, RemoteAddr future) {
    const RemoteAddr list = attributes_.get(future, "_done_callbacks");
    return std::ranges::any_of(
        list_items(memory_, layout_, types_, list, kMostCallbacks), [&](RemoteAddr callback) {
            return callbacks_.function_name(callback) == kChained && works_on(callback, loop);
        });
}

bool LoopFutures::will_begin(RemoteAddr loop, RemoteAddr future) {
    const RemoteAddr ready = attributes_.get(loop, "_ready");
    return std::ranges::any_of(
        deque_items(memory_, layout_, types_, ready, kMostReady), [&](RemoteAddr handle) {
            const RemoteAddr callback = attributes_.get(handle, "_callback");
            return works_on(callback, future) && callbacks_.function_name(callback) == kBegins;
        });
}

bool LoopFutures::works_on(RemoteAddr callback, RemoteAddr object) {
    const auto subjects = callbacks_.subjects(callback);
    return std::ranges::find(subjects, object) != subjects.end();
}

}  // namespace pystack::cpython
