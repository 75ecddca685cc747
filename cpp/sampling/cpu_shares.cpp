#include "sampling/cpu_shares.h"

#include <algorithm>
#include <cstddef>
#include <unordered_map>
#include <utility>
#include <vector>

namespace pystack::sampling {

namespace {

/// `ns` in the proportion of `part` to `whole`, which is not 0.
std::uint64_t share(std::uint64_t ns, std::uint64_t part, std::uint64_t whole) {
    __extension__ using Wide = unsigned __int128;
    return static_cast<std::uint64_t>(Wide{ns} * part / whole);
}

/// What is left to be given to the rows of one thread. Each takes its share of the rest, so that
/// the sum is exact.
struct Rest {
    bool is_known = false;
    std::uint64_t weight_ns = 0;
    process::RunTimes times;

    process::RunTimes take(std::uint64_t weight) {
        if (weight == 0) return {};
        const process::RunTimes taken{.run_ns = share(times.run_ns, weight, weight_ns),
                                      .wait_ns = share(times.wait_ns, weight, weight_ns)};
        weight_ns -= weight;
        times.run_ns -= taken.run_ns;
        times.wait_ns -= taken.wait_ns;
        return taken;
    }
};

/// Of the times since the last hand-over, the part in which the thread was sampled: what it did
/// in a gap, no sample knows.
process::RunTimes sampled_part(const TrackedThread::Cpu& cpu, const process::RunTimes& now) {
    const process::RunTimes& before = cpu.times;
    const process::RunTimes since{.run_ns = now.run_ns - std::min(now.run_ns, before.run_ns),
                                  .wait_ns = now.wait_ns - std::min(now.wait_ns, before.wait_ns)};
    const std::uint64_t all_ns = cpu.sampled_ns + cpu.gaps_ns;
    if (cpu.gaps_ns == 0 || all_ns == 0) return since;
    return {.run_ns = share(since.run_ns, cpu.sampled_ns, all_ns),
            .wait_ns = share(since.wait_ns, cpu.sampled_ns, all_ns)};
}

/// Which thread state has the samples of each of the kernel's threads, by tid. One that has called
/// another interpreter has a state in each, but one sample; if several have some all the same, as
/// when the call began meanwhile, those of the callers stand still.
std::unordered_map<std::int32_t, std::size_t> running_states(const ThreadTable& threads) {
    std::unordered_map<std::int32_t, std::size_t> running;
    for (std::size_t i = 0; i < threads.size(); ++i) {
        const auto [place, is_new] = running.try_emplace(threads.tid(i), i);
        if (is_new) continue;
        const auto rank = [&](std::size_t state) {
            const TrackedThread& thread = threads[state];
            // Of equals the later one: interpreters are listed in the order in which they were
            // made.
            return std::pair(thread.cpu.sampled_ns != 0, -static_cast<int>(thread.motion()));
        };
        if (rank(i) >= rank(place->second)) place->second = i;
    }
    return running;
}

}  // namespace

/// A thread that began after the last tick has all of its times before it; of one that is older,
/// those before its first sample are of no interest.
void CpuShares::follow(const ThreadTable& threads, const Tick& tick) const {
    for (std::size_t i = 0; i < threads.size(); ++i) {
        TrackedThread::Cpu& cpu = threads[i].cpu;
        if (cpu.is_followed || threads.tid(i) == 0) continue;
        cpu.is_followed = true;
        const auto times = read_times_(threads.tid(i));
        cpu.is_known = times.has_value();
        const std::uint64_t since_tick = tick.now_ns - tick.previous_ns;
        if (times && times->run_ns + times->wait_ns > since_tick) cpu.times = *times;
    }
}

void CpuShares::settle(const ThreadTable& threads, model::Batch& batch) const {
    std::vector<Rest> rests;
    const auto running = running_states(threads);
    for (std::size_t i = 0; i < threads.size(); ++i) {
        TrackedThread& thread = threads[i];
        const TrackedThread::Cpu cpu = thread.cpu;
        thread.cpu.sampled_ns = thread.cpu.running_ns = thread.cpu.gaps_ns = 0;
        // What is idle has not run.
        if (!cpu.is_known || thread.is_idle()) continue;
        const auto now = read_times_(threads.tid(i));
        if (!now) continue;
        thread.cpu.times = *now;
        const bool runs = running.at(threads.tid(i)) == i;
        const auto times = runs ? sampled_part(cpu, *now) : process::RunTimes{};
        if (cpu.running_ns != 0) {
            if (rests.size() <= thread.index) rests.resize(thread.index + 1);
            rests[thread.index] = {.is_known = true, .weight_ns = cpu.running_ns, .times = times};
        } else if (times.run_ns + times.wait_ns != 0) {
            batch.late_cpu.push_back(
                {.thread = thread.index, .cpu_ns = times.run_ns, .runnable_ns = times.wait_ns});
        }
    }
    batch.cpu_ns.assign(batch.weight_ns.size(), 0);
    batch.runnable_ns.assign(batch.weight_ns.size(), 0);
    for (std::size_t row = 0; row < batch.weight_ns.size(); ++row) {
        if ((batch.state[row] & model::kOnCpu) == 0) continue;
        const std::uint32_t thread = batch.thread[row];
        if (thread >= rests.size() || !rests[thread].is_known) {
            // It has ended since, or is not known to the kernel by a number: taken to have run.
            batch.cpu_ns[row] = batch.weight_ns[row];
            continue;
        }
        const process::RunTimes taken = rests[thread].take(batch.weight_ns[row]);
        batch.cpu_ns[row] = taken.run_ns;
        batch.runnable_ns[row] = taken.wait_ns;
    }
}

}  // namespace pystack::sampling
