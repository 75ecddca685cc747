#include "snapshot/gil_waiters.h"

#include <thread>
#include <utility>
#include <vector>

#include "waits/pthreads.h"

namespace pystack::snapshot {

namespace {

/// A thread that waits for the GIL wakes every switch interval and runs for some microseconds. One
/// that has run for longer than this while it was looked at runs indeed. In a virtual machine the
/// time counts, too, for which the hypervisor took the CPU away.
constexpr std::uint64_t kAwakeNs = 4'000'000;
constexpr auto kWaitPause = std::chrono::microseconds(50);
/// How long all such looks may take: a thread that wakes on a busy machine waits for a CPU first.
constexpr auto kWaitBudget = std::chrono::milliseconds(500);

using model::GilState;

}  // namespace

std::optional<cpython::Gil> GilWaiters::gil_of(std::size_t interpreter) const {
    return cpython::read_gil(target_.memory(), raw_.runtime,
                             raw_.walked.interpreters[interpreter].address);
}

void GilWaiters::read_futexes() {
    std::vector<std::pair<RawThread*, ThreadMoment>> waiting;
    for (RawThread& thread : raw_.threads) {
        if (!thread.info || !thread.call || !raw_.gils[thread.state.interpreter]) continue;
        if (!waits::may_wait_on_stack(*thread.call)) continue;
        waiting.emplace_back(&thread, now(raw_.infos[*thread.info].tid));
    }
    if (waiting.empty()) return;
    std::vector<std::optional<cpython::Gil>> gils;
    for (std::size_t i = 0; i < raw_.gils.size(); ++i) {
        gils.push_back(gil_of(i));
        auto& gil = raw_.gils[i];
        if (!gil || !gils[i]) continue;
        // The rest is of the moment of the stacks.
        gil->wait_futexes = gils[i]->wait_futexes;
        gil->forced_futexes = gils[i]->forced_futexes;
    }
    for (const auto& [thread, before] : waiting) {
        const bool is_settled =
            before.call == thread->call && this->is_settled(raw_.infos[*thread->info].tid, before,
                                                            gils[thread->state.interpreter]);
        if (!is_settled) thread->call.reset();
    }
}

/// Whether the futexes of the GIL, read after `before`, say what the thread waits for.
bool GilWaiters::is_settled(std::int32_t tid, const ThreadMoment& before,
                            const std::optional<cpython::Gil>& gil) const {
    if (!before.call || !waits::may_wait_on_stack(*before.call)) return true;
    return (!gil || gil->are_futexes_known) && now(tid) == before;
}

void GilWaiters::look(const Calls& calls_before) {
    const auto deadline = Clock::now() + kWaitBudget;
    for (RawThread& thread : raw_.threads) {
        const auto& gil = raw_.gils[thread.state.interpreter];
        if (!thread.info || thread.call || !gil || !gil->enabled) continue;
        if (gil->locked && gil->holder == thread.state.address) continue;
        const auto before = calls_before.find(raw_.infos[*thread.info].tid);
        if (before != calls_before.end() &&
            cpython::gil_state(*gil, thread.state.address, before->second) == GilState::kWaits) {
            thread.call = before->second;
            continue;
        }
        look_at(thread, deadline);
    }
}

void GilWaiters::look_at(RawThread& thread, Clock::time_point deadline) {
    const std::int32_t tid = raw_.infos[*thread.info].tid;
    const std::uint64_t ran_before = target_.run_time_ns(tid).value_or(0);
    for (;;) {
        const ThreadMoment moment = now(tid);
        const auto gil = gil_of(thread.state.interpreter);
        const bool holds = gil && gil->locked && gil->holder == thread.state.address;
        const bool waits =
            gil && moment.call &&
            cpython::gil_state(*gil, thread.state.address, moment.call) == GilState::kWaits;
        thread.waited_for_gil = holds || waits;
        thread.call = moment.call;
        if (thread.waited_for_gil) return;
        if (moment.call && is_settled(tid, moment, gil)) return;
        std::this_thread::sleep_for(kWaitPause);
        if (Clock::now() >= deadline) return;
        if (target_.run_time_ns(tid).value_or(0) - ran_before >= kAwakeNs) return;
    }
}

}  // namespace pystack::snapshot
