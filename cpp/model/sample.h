#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "model/tables.h"

namespace pystack::model {

/// Bits of a sample's state. A bit that says "known" tells whether the others were measured at all.
enum SampleState : std::uint8_t {
    kHoldsGil = 1,
    kWaitsForGil = 2,
    kOnCpu = 4,
    kGc = 8,
    kCpuKnown = 16,
    kGilKnown = 32,
};

/// The names of the bits for Python, which has no other list of them.
inline constexpr std::array kSampleStateNames{
    std::pair{"HOLDS_GIL", kHoldsGil}, std::pair{"WAITS_FOR_GIL", kWaitsForGil},
    std::pair{"ON_CPU", kOnCpu},       std::pair{"GC", kGc},
    std::pair{"CPU_KNOWN", kCpuKnown}, std::pair{"GIL_KNOWN", kGilKnown},
};

/// The interpreter_id of a thread that no interpreter knows.
constexpr std::int64_t kNoInterpreter = -1;

/// Who a thread is, as far as it is known by now: threads get their names after they start.
struct SampledThread {
    std::int32_t pid = 0;
    std::int32_t tid = 0;  ///< 0: not known.
    std::int64_t interpreter_id = 0;
    std::string name;
    /// It is no thread, but a row of tasks, one after another: `tid` is the thread of their event
    /// loop.
    bool is_of_tasks = false;

    bool operator==(const SampledThread&) const = default;
};

/// What happened to every attempt in a stretch of time: nothing is dropped without being counted
/// here. Each member has a row in for_each_count.
struct SamplerStats {
    std::uint64_t attempted = 0;  ///< Samples of one thread that were tried.
    std::uint64_t taken = 0;
    std::uint64_t torn = 0;      ///< Could not be proved within the retries.
    std::uint64_t failed = 0;    ///< Unreadable.
    std::uint64_t vanished = 0;  ///< The thread ended while it was read.
    std::uint64_t given_up = 0;  ///< Ticks whose samples failed because the stop took too long.
    std::uint64_t ticks = 0;
    std::uint64_t late = 0;           ///< Ticks served more than half an interval after their time.
    std::uint64_t missed = 0;         ///< Ticks skipped because the one before took too long, or:
    std::uint64_t throttled = 0;      ///< Of the missed: the sampler had used its share of a CPU.
    std::uint64_t pause_limited = 0;  ///< Of the missed: threads had stood still for their share of
                                      ///< the time.
    std::uint64_t stopped = 0;  ///< Of the taken: the thread was stopped, as no proof succeeded.
    std::uint64_t not_sampled_ns = 0;  ///< Time for which no sample stands: without ticks, or
                                       ///< without a Python thread.
    std::uint64_t elapsed_ns = 0;
    std::uint64_t cpu_ns = 0;  ///< Of the sampling thread.
    std::uint64_t stop_ns_total = 0;
    std::uint64_t stop_ns_max = 0;
    /// How many stops took less than 1 us, 2 us, 4 us, ...; the last: all that took longer.
    std::array<std::uint64_t, 22> stops{};
    /// Samples whose native frames are not all there, or of which some Python frame has no place
    /// among them. They are among the taken ones.
    std::uint64_t partly_merged = 0;
    /// Of the taken: the thread runs code of several interpreters, and which of them called which
    /// is a guess.
    std::uint64_t guessed_order = 0;
    std::uint64_t task_samples = 0;    ///< Of tasks; none of them is among the attempted ones.
    std::uint64_t tasks_unproved = 0;  ///< Of tasks that moved while they were read.
    std::uint64_t tasks_left_out = 0;  ///< Of tasks beyond those that a recording follows.
    /// 1: mappings or mapped files were left out, see Target::left_out_parts.
    /// Only in the first stretch that knows of it.
    std::uint64_t maps_left_out = 0;

    bool operator==(const SamplerStats&) const = default;

    void count_stop(std::uint64_t ns) {
        if (ns == 0) return;  // Nothing had to be stopped.
        stop_ns_total += ns;
        stop_ns_max = std::max(stop_ns_max, ns);
        const auto bucket = static_cast<std::size_t>(std::bit_width(ns / 1000));
        ++stops[std::min(bucket, stops.size() - 1)];
    }
};

/// How the counts of two stretches of time become those of both.
enum class CountMerge : std::uint8_t {
    kSum,
    kMaximum,
    kHistogram,  ///< An array, summed up element by element.
};

/// Calls visit(name, member, merge) for each count. This is the only list of the counts: sums, the
/// bindings and, through them, Python are made from it.
template <class Visit>
constexpr void for_each_count(Visit visit) {
    using enum CountMerge;
    visit("attempted", &SamplerStats::attempted, kSum);
    visit("taken", &SamplerStats::taken, kSum);
    visit("torn", &SamplerStats::torn, kSum);
    visit("failed", &SamplerStats::failed, kSum);
    visit("vanished", &SamplerStats::vanished, kSum);
    visit("given_up", &SamplerStats::given_up, kSum);
    visit("ticks", &SamplerStats::ticks, kSum);
    visit("late", &SamplerStats::late, kSum);
    visit("missed", &SamplerStats::missed, kSum);
    visit("throttled", &SamplerStats::throttled, kSum);
    visit("pause_limited", &SamplerStats::pause_limited, kSum);
    visit("stopped", &SamplerStats::stopped, kSum);
    visit("not_sampled_ns", &SamplerStats::not_sampled_ns, kSum);
    visit("elapsed_ns", &SamplerStats::elapsed_ns, kSum);
    visit("cpu_ns", &SamplerStats::cpu_ns, kSum);
    visit("stop_ns_total", &SamplerStats::stop_ns_total, kSum);
    visit("stop_ns_max", &SamplerStats::stop_ns_max, kMaximum);
    visit("stops", &SamplerStats::stops, kHistogram);
    visit("partly_merged", &SamplerStats::partly_merged, kSum);
    visit("guessed_order", &SamplerStats::guessed_order, kSum);
    visit("task_samples", &SamplerStats::task_samples, kSum);
    visit("tasks_unproved", &SamplerStats::tasks_unproved, kSum);
    visit("tasks_left_out", &SamplerStats::tasks_left_out, kSum);
    visit("maps_left_out", &SamplerStats::maps_left_out, kSum);
}

static_assert(
    [] {
        std::size_t listed = 0;
        for_each_count([&]<class Member>(const char*, Member SamplerStats::*, CountMerge) {
            listed += sizeof(Member);
        });
        return listed == sizeof(SamplerStats);
    }(),
    "for_each_count must list every member of SamplerStats");

/// Adds the counts of another stretch of time.
inline void add_stats(SamplerStats& total, const SamplerStats& part) {
    for_each_count([&]<class Member>(const char*, Member SamplerStats::* member, CountMerge merge) {
        Member& to = total.*member;
        const Member& from = part.*member;
        if constexpr (!std::is_same_v<Member, std::uint64_t>) {
            for (std::size_t index = 0; index < from.size(); ++index) to[index] += from[index];
        } else {
            to = merge == CountMerge::kMaximum ? std::max(to, from) : to + from;
        }
    });
}

/// Samples since the last batch, as columns of equal length, and the rows that are new in the
/// tables. Neighbouring samples of a thread that are equal are one row.
struct Batch {
    std::vector<std::uint64_t> time_ns;  ///< CLOCK_MONOTONIC: until then the row speaks.
    /// Since the previous attempt on the same thread, or less (Tick::most_weight_ns); summed up.
    std::vector<std::uint64_t> weight_ns;
    std::vector<std::uint32_t> count;   ///< Samples in the row.
    std::vector<std::uint32_t> thread;  ///< Index into the threads of all batches.
    std::vector<StackId> stack;         ///< 0: the thread runs no Python code.
    std::vector<std::uint8_t> state;    ///< SampleState bits.
    std::vector<WaitId> wait;           ///< What the thread waits for; see WaitRow.

    // Filled when the batch is handed over.
    std::vector<std::uint64_t> cpu_ns;       ///< Of the weight: on a CPU.
    std::vector<std::uint64_t> runnable_ns;  ///< Of the weight: ready to run, without a CPU.
    /// Of threads that ran, but were found running by no sample of the batch.
    struct LateCpu {
        std::uint32_t thread = 0;
        std::uint64_t cpu_ns = 0;
        std::uint64_t runnable_ns = 0;
    };
    std::vector<LateCpu> late_cpu;

    std::vector<std::string> strings;
    std::vector<FrameRow> frames;
    std::vector<StackTable::Row> stacks;
    std::vector<WaitRow> waits;
    std::vector<std::pair<std::uint32_t, SampledThread>> threads;  ///< By index; new, or changed.
    SamplerStats stats;                                            ///< Since the last batch.
    bool finished = false;
    bool ends_tables = false;  ///< The next batch begins new tables, threads included.

    /// The rows of the tables stay.
    void drop_samples() {
        time_ns.clear();
        weight_ns.clear();
        count.clear();
        thread.clear();
        stack.clear();
        state.clear();
        wait.clear();
        cpu_ns.clear();
        runnable_ns.clear();
        late_cpu.clear();
    }

    /// The new row's number.
    std::size_t add(std::uint64_t time, std::uint64_t weight, std::uint32_t thread_index,
                    StackId stack_id, std::uint8_t state_bits, WaitId wait_id = 0) {
        time_ns.push_back(time);
        weight_ns.push_back(weight);
        count.push_back(1);
        thread.push_back(thread_index);
        stack.push_back(stack_id);
        state.push_back(state_bits);
        wait.push_back(wait_id);
        return time_ns.size() - 1;
    }

    /// Adds a sample to a row, if it is equal and follows without a gap.
    bool extend(std::size_t row, std::uint64_t time, std::uint64_t weight, StackId stack_id,
                std::uint8_t state_bits, WaitId wait_id = 0) {
        if (stack[row] != stack_id || state[row] != state_bits || wait[row] != wait_id ||
            time - weight != time_ns[row]) {
            return false;
        }
        time_ns[row] = time;
        weight_ns[row] += weight;
        ++count[row];
        return true;
    }
};

}  // namespace pystack::model
