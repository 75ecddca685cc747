#include "sampling/sampler.h"

#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <ctime>
#include <random>
#include <tuple>
#include <utility>

#include "base/guard.h"
#include "base/nanoseconds.h"
#include "process/own_tid.h"
#include "process/process_clock.h"
#include "process/realtime_priority.h"
#include "sampling/cpu_ceiling.h"
#include "sampling/sample_instants.h"

namespace pystack::sampling {

namespace {

/// Samples are handed over about this often: more often than who takes them looks, which would else
/// find nothing every other time.
constexpr auto kHandOver = std::chrono::milliseconds(200);
/// A sleep costs some microseconds of CPU and is as late as that: shorter waits spin.
constexpr auto kSpin = std::chrono::microseconds(5);
/// Between two tries to let a thread of the target go that could not be stopped in time.
constexpr auto kLatePause = std::chrono::milliseconds(1);
/// How long stop() may have to wait for a sampling thread that sleeps.
constexpr auto kLongestSleep = std::chrono::milliseconds(20);
/// How long stop() may have to wait for the last sample before that is given up.
constexpr auto kLongestLastSample = std::chrono::milliseconds(200);

/// Appends the samples of `batch` to `pending`; the table rows are moved at the hand-over.
void append(model::Batch& pending, const model::Batch& batch) {
    const auto with_all = [&](auto act) {
        act(pending.time_ns, batch.time_ns);
        act(pending.weight_ns, batch.weight_ns);
        act(pending.count, batch.count);
        act(pending.thread, batch.thread);
        act(pending.stack, batch.stack);
        act(pending.state, batch.state);
        act(pending.wait, batch.wait);
        act(pending.cpu_ns, batch.cpu_ns);
        act(pending.runnable_ns, batch.runnable_ns);
        act(pending.late_cpu, batch.late_cpu);
        act(pending.frames, batch.frames);
        act(pending.stacks, batch.stacks);
        act(pending.waits, batch.waits);
    };
    model::add_stats(pending.stats, batch.stats);
    pending.strings.insert(pending.strings.end(), batch.strings.begin(), batch.strings.end());
    pending.threads.insert(pending.threads.end(), batch.threads.begin(), batch.threads.end());
    // Where memory runs out, no column may be longer than the others: none grows before all can.
    with_all([](auto& to, const auto& from) {
        if (to.capacity() - to.size() < from.size())
            to.reserve(std::max(2 * to.capacity(), to.size() + from.size()));
    });
    with_all([](auto& to, const auto& from) { to.insert(to.end(), from.begin(), from.end()); });
}

}  // namespace

Result<std::unique_ptr<Sampler>> Sampler::open(int pid, const SamplerOptions& options) {
    // Times of a lower rate would overflow.
    if (!(options.rate_hz >= 1e-6) || options.rate_hz > 1e6) {
        return fail(
            Error{.code = ErrorCode::kInvalidArgument,
                  .what = "the rate must be between 0.000001 and 1,000,000 samples per second"});
    }
    for (const double share : {options.max_cpu_share, options.max_pause_share}) {
        if (!(share > 0) || share > 1) {
            return fail(
                Error{.code = ErrorCode::kInvalidArgument,
                      .what = "the shares of a CPU and of pauses must be above 0 and at most 1"});
        }
    }
    SamplerOptions allowed = options;
    // A process cannot stop its own threads.
    if (pid == ::getpid() && options.stop == StopPolicy::kWhenNeeded)
        allowed.stop = StopPolicy::kNever;
    allowed.raise_priority = options.raise_priority && process::has_ordinary_priority();
    PYSTACK_TRY(engine, SampleEngine::open(pid, allowed));
    return std::unique_ptr<Sampler>(new Sampler(std::move(engine), allowed));
}

Sampler::Sampler(std::unique_ptr<SampleEngine> engine, const SamplerOptions& options)
    : options_(options),
      version_(engine->python_version()),
      engine_(std::move(engine)),
      max_cpu_share_(options.max_cpu_share) {}

Sampler::~Sampler() {
    stop();
}

void Sampler::start() {
    if (thread_.joinable()) return;
    thread_ = std::thread([this] {
        // What was taken before memory ran out is still there.
        if (auto ran = guarded([this] { return run(); }); !ran)
            finish(End::kFailed, std::move(ran).error());
    });
}

void Sampler::stop() {
    {
        const std::lock_guard lock(mutex_);
        stop_asked_ = true;
    }
    wake_.notify_all();
    if (!thread_.joinable()) return;
    {
        std::unique_lock lock(mutex_);
        if (!progress_.wait_for(lock, kLongestLastSample, [this] { return end_ != End::kRunning; }))
            options_.limits->cancel();
    }
    thread_.join();
}

/// An error ends the recording; what was taken so far is kept.
Result<void> Sampler::run() {
    // As `ps` and `top` show it.
    ::prctl(PR_SET_NAME, "pystack-sampler", 0UL, 0UL, 0UL);
    // The default slack of 50 us would blur the sampling instants.
    ::prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL);
    // A sample that comes late is a sample of another moment.
    if (options_.raise_priority) process::raise_niceness(process::own_tid());
    SampleInstants instants(std::random_device{}());
    const std::chrono::duration<double> interval(1.0 / options_.rate_hz);
    model::Batch batch;
    const auto ceiling_begin = Clock::now();
    // Where only some samples need a stop, the engine limits these alone.
    CpuCeiling ceiling(
        {.cpu = options_.max_cpu_share, .stops = options_.stops() ? options_.max_pause_share : 1},
        process::own_run_time_ns(), std::thread::hardware_concurrency());
    const auto next_start = [&] {
        ceiling.set_cpu_share(max_cpu_share_);
        return ceiling.next_start(to_ns(Clock::now() - ceiling_begin), process::own_run_time_ns(),
                                  to_ns(engine_->standing_time()));
    };
    if (options_.native) {
        // Reading debug information for the first time would cost samples.
        model::SamplerStats uncounted;
        model::Batch rehearsal;
        std::ignore = engine_->sample(monotonic_ns(), rehearsal, uncounted);
        // Debug information is read only once. What led to no sample will be done again.
        if (uncounted.taken != 0) ceiling.forgive_cpu(process::own_run_time_ns());
        engine_->complete(rehearsal);
        rehearsal.drop_samples();
        const std::lock_guard lock(mutex_);
        append(pending_.back(), rehearsal);
    }
    const auto begin = Clock::now();
    engine_->begin(to_ns(begin.time_since_epoch()));
    auto handed_over = begin;
    model::SamplerStats stats;  // Since the last hand-over.
    // What the target did during the rehearsal nobody saw.
    stats.not_sampled_ns = to_ns(begin - ceiling_begin);
    bool maps_reported = false;
    auto counted_until = ceiling_begin;
    std::uint64_t cpu_counted_ns = 0;
    const auto slot_at = [&](Clock::time_point time) {
        return static_cast<std::uint64_t>(std::max(time - begin, Clock::duration(0)) / interval);
    };
    const auto time_of = [&](double slots) {
        return begin + std::chrono::duration_cast<Clock::duration>(interval * slots);
    };
    const auto ceiling_slot_at = [&](std::uint64_t ns) {
        return slot_at(ceiling_begin + std::chrono::nanoseconds(ns));
    };
    // Stops that took too long are not tried again at once.
    const auto retry_at = [&] {
        return Clock::time_point(std::chrono::nanoseconds(engine_->retry_at_ns()));
    };
    const CpuCeiling::Start first = next_start();
    std::uint64_t slot = std::max(
        {ceiling_slot_at(first.cpu_ns), ceiling_slot_at(first.stops_ns), slot_at(retry_at())});
    const auto hand_over = [&] {
        engine_->complete(batch);
        // Handed over once, not with each batch: it is added up like the counts.
        stats.maps_left_out = stats.maps_left_out != 0 && !maps_reported ? 1 : 0;
        maps_reported = maps_reported || stats.maps_left_out != 0;
        batch.stats = std::exchange(stats, {});
        const std::lock_guard lock(mutex_);
        append(pending_.back(), batch);
        other_runtimes_ = engine_->other_runtimes();
        batch = {};
        progress_.notify_all();
    };
    const auto begin_tables = [&] {
        hand_over();
        maps_reported = false;
        engine_->renew_tables(to_ns(Clock::now().time_since_epoch()));
        const std::lock_guard lock(mutex_);
        renewal_asked_ = false;
        pending_.emplace_back();
        pending_.end()[-2].ends_tables = true;
        progress_.notify_all();
    };
    for (;;) {
        const auto planned = time_of(static_cast<double>(slot) + instants.next());
        while (!sleep_until(planned)) {
            if (stop_asked_) {
                hand_over();
                finish(End::kStopped, std::nullopt);
                return {};
            }
            begin_tables();
        }
        const auto now = Clock::now();
        const bool late = now - planned > interval / 2;
        if (late) ++stats.late;
        engine_->note_lateness(late, to_ns(now.time_since_epoch()));
        const auto interval_end = time_of(static_cast<double>(slot) + 1);
        auto sampled = engine_->sample(to_ns(now.time_since_epoch()), batch, stats,
                                       to_ns(interval_end.time_since_epoch()));
        if (options_.limits->cancelled()) {
            // Of this sample nothing is sure, and the batch has it in its rows.
            for (const std::uint32_t count : batch.count) {
                stats.taken -= count;
                stats.failed += count;
            }
            batch.drop_samples();
            hand_over();
            finish(End::kStopped, std::nullopt);
            return {};
        }

        const auto after = Clock::now();
        const std::uint64_t cpu_ns = process::own_run_time_ns();
        stats.cpu_ns += cpu_ns - std::exchange(cpu_counted_ns, cpu_ns);
        stats.elapsed_ns += to_ns(after - std::exchange(counted_until, after));
        const std::uint64_t due = std::max(slot + 1, slot_at(after));
        const CpuCeiling::Start start = next_start();
        const std::uint64_t after_cpu = std::max(due, ceiling_slot_at(start.cpu_ns));
        const std::uint64_t allowed = std::max(after_cpu, ceiling_slot_at(start.stops_ns));
        const std::uint64_t next = std::max(allowed, slot_at(retry_at()));
        stats.missed += next - slot - 1;
        stats.throttled += after_cpu - due;
        stats.pause_limited += allowed - after_cpu;
        slot = next;
        if (!sampled || after - handed_over >= kHandOver || interval >= kHandOver) {
            handed_over = after;
            hand_over();
        }
        if (!sampled) {
            const bool exited = sampled.error().code == ErrorCode::kTargetExited ||
                                sampled.error().code == ErrorCode::kNoSuchProcess;
            finish(exited ? End::kTargetExited : End::kFailed, std::move(sampled).error());
            return {};
        }
    }
}

/// False when stop or new tables were asked for.
bool Sampler::sleep_until(Clock::time_point time) {
    while (engine_->release_late_threads() && !is_disturbed() && time - Clock::now() > kLatePause) {
        std::this_thread::sleep_for(kLatePause);
    }
    if (const auto left = time - Clock::now(); left > kLongestSleep) {
        std::unique_lock lock(mutex_);
        if (wake_.wait_until(lock, time - kLongestSleep / 2, [this] { return is_disturbed(); }))
            return false;
    }
    if (time - Clock::now() > kSpin) {
        // steady_clock is CLOCK_MONOTONIC.
        const std::uint64_t ns = to_ns(time.time_since_epoch());
        const timespec until{.tv_sec = static_cast<time_t>(ns / 1'000'000'000),
                             .tv_nsec = static_cast<long>(ns % 1'000'000'000)};
        while (::clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, nullptr) == EINTR)
            continue;
    }
    while (Clock::now() < time && !is_disturbed()) continue;
    return !is_disturbed();
}

void Sampler::finish(End end, std::optional<Error> error) {
    const std::lock_guard lock(mutex_);
    end_ = end;
    error_ = std::move(error);
    progress_.notify_all();
}

std::optional<model::Batch> Sampler::next_batch(std::chrono::nanoseconds timeout) {
    std::unique_lock lock(mutex_);
    progress_.wait_for(lock, timeout, [this] { return has_news() || end_ != End::kRunning; });
    if (end_ != End::kRunning) {
        if (final_batch_taken_) return std::nullopt;
        final_batch_taken_ = pending_.front().finished = pending_.size() == 1;
    } else if (!has_news()) {
        return std::nullopt;
    }
    model::Batch batch = std::exchange(pending_.front(), {});
    if (pending_.size() > 1) pending_.pop_front();
    return batch;
}

void Sampler::renew_tables() {
    {
        const std::lock_guard lock(mutex_);
        renewal_asked_ = true;
    }
    wake_.notify_all();
}

/// Whether samples or counts wait to be taken. Rows of the tables alone can wait longer.
bool Sampler::has_news() const {
    const model::Batch& next = pending_.front();
    return next.ends_tables || !next.time_ns.empty() || next.stats != model::SamplerStats{};
}

std::vector<std::string> Sampler::other_runtimes() const {
    const std::lock_guard lock(mutex_);
    return other_runtimes_;
}

Sampler::End Sampler::end() const {
    const std::lock_guard lock(mutex_);
    return end_;
}

std::optional<Error> Sampler::error() const {
    const std::lock_guard lock(mutex_);
    return error_;
}

}  // namespace pystack::sampling
