#include "sampling/thread_table.h"

#include <optional>
#include <utility>

#include "cpython/runtime/thread_matching.h"

namespace pystack::sampling {

void ThreadTable::update(const cpython::CachedInterpreters& interpreters, const Tick& tick) {
    if (followed_ == interpreters.changes()) return;
    followed_ = interpreters.changes();
    corrected_.clear();
    ++changes_;
    std::unordered_map<RemoteAddr, std::unique_ptr<TrackedThread>> known;
    known.swap(by_state_);
    order_.clear();
    indices_.clear();
    for (const cpython::ThreadState& state : interpreters.threads()) {
        auto& thread = by_state_[state.address];
        // The address of a dead thread's state may be a new thread's.
        const auto place = known.find(state.address);
        if (place != known.end() && place->second && place->second->unique_id == state.unique_id) {
            thread = std::move(place->second);
        } else if (!thread) {
            thread = std::make_unique<TrackedThread>();
            thread->index = identities_.add(tick.now_ns);
            thread->is_left_out = identities_.is_left_out(thread->index);
            thread->unique_id = state.unique_id;
            thread->last_ns = tick.from_ns;
        }
        order_.push_back(thread.get());
        indices_.push_back(thread->index);
    }
}

void ThreadTable::identify(const cpython::Runtime& runtime,
                           const cpython::CachedInterpreters& interpreters, std::uint64_t now_ns) {
    if (!identities_.update(now_ns, runtime, interpreters, indices_)) return;
    for (TrackedThread* thread : order_) {
        const model::SampledThread& who = identities_.of(thread->index);
        thread->activity.set_thread(who.pid, who.tid);
        thread->waiting.run_time.set_thread(who.pid, who.tid);
    }
}

void ThreadTable::correct_tids(const cpython::CachedInterpreters& interpreters,
                               std::int32_t main_tid) {
    std::vector<std::optional<std::size_t>> tids(order_.size());
    std::vector<std::optional<RemoteAddr>> places(order_.size());
    for (std::size_t i = 0; i < order_.size(); ++i) {
        const std::int32_t claimed = identities_.of(indices_[i]).tid;
        if (claimed != 0) tids[i] = static_cast<std::size_t>(claimed);
        places[i] = order_[i]->place;
    }
    cpython::correct_by_c_stacks(interpreters.threads(), places, static_cast<std::size_t>(main_tid),
                                 tids);
    corrected_.resize(order_.size());
    for (std::size_t i = 0; i < order_.size(); ++i) {
        corrected_[i] = static_cast<std::int32_t>(tids[i].value_or(0));
        order_[i]->activity.set_thread(main_tid, corrected_[i]);
        order_[i]->waiting.run_time.set_thread(main_tid, corrected_[i]);
    }
}

void ThreadTable::clear() {
    by_state_.clear();
    corrected_.clear();
    order_.clear();
    indices_.clear();
    followed_ = 0;
    ++changes_;
}

void ThreadTable::renumber(std::uint64_t now_ns) {
    indices_ = identities_.renumber(indices_, now_ns);
    for (std::size_t i = 0; i < order_.size(); ++i) {
        order_[i]->index = indices_[i];
        order_[i]->is_left_out = identities_.is_left_out(indices_[i]);
    }
    ++changes_;
}

const TrackedThread* ThreadTable::find(RemoteAddr thread_state) const {
    const auto known = by_state_.find(thread_state);
    return known != by_state_.end() ? known->second.get() : nullptr;
}

}  // namespace pystack::sampling
