#include "sampling/sample_engine.h"

#include <algorithm>
#include <utility>

#include "process/proc_files.h"
#include "sampling/running_engine.h"
#include "sampling/stopped_engine.h"

namespace pystack::sampling {

namespace {

/// A target that executes another program has no interpreter for a while.
constexpr std::uint64_t kFindAgainEveryNs = 20'000'000;
/// A sample is not worth a longer stop.
constexpr auto kLongestStop = std::chrono::milliseconds(100);
constexpr auto kPatience = std::chrono::milliseconds(20);
constexpr auto kBusyPatience = std::chrono::milliseconds(50);

}  // namespace

Result<std::unique_ptr<SampleEngine>> SampleEngine::open(int pid, const SamplerOptions& options) {
    PYSTACK_TRY(target, target::LiveTarget::open(pid, options.limits));
    auto runtime = cpython::locate_runtime(*target, {.exhaustive = options.exhaustive});
    if (options.limits->cancelled()) return fail(cancelled());
    if (!runtime) return fail(std::move(runtime).error());
    std::unique_ptr<SampleEngine> engine;
    if (options.stops()) {
        engine = std::make_unique<StoppedEngine>(std::move(target), options);
    } else {
        engine = std::make_unique<RunningEngine>(std::move(target), options);
    }
    engine->use(std::move(*runtime));
    PYSTACK_CHECK(engine->check());
    if (options.limits->cancelled()) return fail(cancelled());
    return engine;
}

SampleEngine::SampleEngine(std::unique_ptr<target::LiveTarget> target,
                           const SamplerOptions& options)
    : target_(std::move(target)),
      options_(options),
      program_(*target_, options_),
      threads_(*target_, program_.table_limits()),
      wait_rows_(program_.table_limits()),
      waits_(program_, threads_, wait_rows_),
      cpu_shares_([pid = target_->pid()](auto tid) { return process::read_run_times(pid, tid); }),
      spacing_(options.rate_hz) {
    if (options_.tasks)
        tasks_ = std::make_unique<TaskSampling>(program_, threads_, wait_rows_, writer_);
    target_->set_stop_rules(
        {.clock = {.limit = kLongestStop, .raise_priority = options_.raise_priority},
         .limits = {.patience = kPatience, .busy_patience = kBusyPatience}});
}

void SampleEngine::use(cpython::Runtime runtime) {
    program_.use(std::move(runtime));
    threads_.clear();
    waits_.use_codes();
    if (tasks_) tasks_->begin_program();
    begin_program();
}

Result<void> SampleEngine::find_again() {
    if (!target_->alive()) {
        return fail(Error{.code = ErrorCode::kTargetExited, .what = "the process exited"});
    }
    auto runtime = cpython::locate_runtime(*target_, {.exhaustive = options_.exhaustive});
    if (runtime) use(std::move(*runtime));
    return {};
}

Result<void> SampleEngine::sample(std::uint64_t now_ns, model::Batch& batch,
                                  model::SamplerStats& stats, std::uint64_t until_ns) {
    until_ns = std::max(until_ns, now_ns);
    ++stats.ticks;
    stats.maps_left_out = target_->has_left_out_parts() ? 1 : 0;
    options_.limits->renew_steps();
    if (program_.renew_codes(now_ns)) {
        waits_.use_codes();
        forget_codes();
    }
    if (program_.find_tasks(now_ns)) {
        for (TrackedThread* thread : threads_) thread->forget_stack();
    }
    program_.find_others(now_ns);
    if (previous_ns_ == 0) previous_ns_ = now_ns;
    if (from_ns_ == 0) from_ns_ = now_ns;
    const std::uint64_t since_last = until_ns - std::min(until_ns, from_ns_);
    const std::uint64_t most_weight = spacing_.add(since_last);
    if (since_last > most_weight) stats.not_sampled_ns += since_last - most_weight;
    const Tick tick{.now_ns = now_ns,
                    .from_ns = from_ns_,
                    .until_ns = until_ns,
                    .previous_ns = previous_ns_,
                    .most_weight_ns = most_weight,
                    .batch = batch,
                    .stats = stats};
    looked_until_ns_ = now_ns;
    speaks_until_ns_ = until_ns;
    waits_.begin_tick(now_ns);
    Result<void> result = take_samples(tick);
    waits_.end_tick();
    if (tasks_ && result) tasks_->sample(tick);
    cpu_shares_.follow(threads_, tick);
    // It executes another program, which is not Python, or not yet.
    if (threads_.size() == 0) stats.not_sampled_ns += std::min(since_last, most_weight);
    previous_ns_ = looked_until_ns_;
    from_ns_ = speaks_until_ns_;
    if (result && program_.interpreters().interpreters().empty() && now_ns >= retry_find_at_ns_) {
        retry_find_at_ns_ = now_ns + kFindAgainEveryNs;
        result = find_again();
    }
    return result;
}

void SampleEngine::renew_tables(std::uint64_t now_ns) {
    program_.renew_tables();
    threads_.renumber(now_ns);
    wait_rows_.renew_table();
    waits_.forget_rows();
    if (tasks_) tasks_->forget_rows();
    writer_.begin_tables();
    forget_rows();
}

void SampleEngine::begin(std::uint64_t now_ns) {
    previous_ns_ = 0;
    from_ns_ = now_ns;
    for (TrackedThread* thread : threads_) thread->last_ns = now_ns;
    if (tasks_) tasks_->begin(now_ns);
}

}  // namespace pystack::sampling
