#include "sampling/unclaimed_threads.h"

namespace pystack::sampling {

const std::vector<UnclaimedThreads::Entry>& UnclaimedThreads::update(
    std::span<const std::int32_t> tids, const Tick& tick) {
    std::unordered_map<std::int32_t, std::unique_ptr<TrackedThread>> known;
    known.swap(threads_);
    std::vector<target::ThreadInfo> infos;  // Read when a thread is new.
    order_.clear();
    for (const std::int32_t tid : tids) {
        auto& thread = threads_[tid];
        if (const auto place = known.find(tid); place != known.end()) {
            thread = std::move(place->second);
        } else if (!thread) {
            if (infos.empty()) infos = target_.threads().value_or(infos);
            model::SampledThread who{
                .pid = target_.pid(), .tid = tid, .interpreter_id = model::kNoInterpreter};
            for (const target::ThreadInfo& info : infos) {
                if (info.tid == tid) who.name = info.name.value_or("");
            }
            thread = std::make_unique<TrackedThread>();
            thread->index = identities_.add_known(std::move(who));
            thread->is_left_out = identities_.is_left_out(thread->index);
            thread->last_ns = tick.from_ns;
        }
        order_.emplace_back(tid, thread.get());
    }
    return order_;
}

}  // namespace pystack::sampling
