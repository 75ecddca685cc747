#include "capture/sampler.h"

#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <ctime>
#include <random>
#include <tuple>

#include "threads/process_clock.h"

namespace pystack::capture {

namespace {

/// Samples are handed over at least this often.
constexpr auto kHandOver = std::chrono::milliseconds(250);
/// A sleep costs some microseconds of CPU and is as late as that: shorter waits spin.
constexpr auto kSpin = std::chrono::microseconds(5);
/// How long stop() may have to wait for a sampling thread that sleeps.
constexpr auto kLongestSleep = std::chrono::milliseconds(20);
constexpr int kHighestPriority = -20;

std::uint64_t to_ns(std::chrono::steady_clock::duration duration) {
    return static_cast<std::uint64_t>(
        std::chrono::duration_cast<std::chrono::nanoseconds>(duration).count());
}

/// Appends the samples of `batch` to `pending`; the table rows are moved at the hand-over.
void append(model::Batch& pending, const model::Batch& batch) {
    const auto add = [](auto& to, const auto& from) {
        to.insert(to.end(), from.begin(), from.end());
    };
    add(pending.time_ns, batch.time_ns);
    add(pending.weight_ns, batch.weight_ns);
    add(pending.count, batch.count);
    add(pending.thread, batch.thread);
    add(pending.stack, batch.stack);
    add(pending.state, batch.state);
    add(pending.strings, batch.strings);
    add(pending.frames, batch.frames);
    add(pending.stacks, batch.stacks);
    add(pending.threads, batch.threads);
}

}  // namespace

Result<std::unique_ptr<Sampler>> Sampler::open(int pid, const SamplerOptions& options) {
    if (!(options.rate_hz > 0) || options.rate_hz > 1e6) {
        return fail(
            Error{.code = ErrorCode::kInvalidArgument,
                  .what = "the rate must be above 0 and at most 1,000,000 samples a second"});
    }
    PYSTACK_TRY(engine, SampleEngine::open(pid, options));
    return std::unique_ptr<Sampler>(new Sampler(std::move(engine), options));
}

Sampler::Sampler(std::unique_ptr<SampleEngine> engine, const SamplerOptions& options)
    : options_(options), version_(engine->version().to_string()), engine_(std::move(engine)) {}

Sampler::~Sampler() {
    stop();
}

void Sampler::start() {
    if (!thread_.joinable()) thread_ = std::thread([this] { run(); });
}

void Sampler::stop() {
    {
        const std::lock_guard lock(mutex_);
        stop_asked_ = true;
    }
    wake_.notify_all();
    if (thread_.joinable()) thread_.join();
}

void Sampler::run() {
    // The default slack of 50 us would blur the sampling instants.
    ::prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL);
    // A sample that comes late is a sample of another moment. Refused without privileges.
    ::setpriority(PRIO_PROCESS, static_cast<id_t>(::gettid()), kHighestPriority);
    std::minstd_rand random(std::random_device{}());
    std::uniform_real_distribution<double> instant(0.0, 1.0);
    const std::chrono::duration<double> interval(1.0 / options_.rate_hz);
    model::Batch batch;
    if (options_.native) {
        // Reading debug information for the first time would cost samples.
        model::SamplerStats uncounted;
        model::Batch rehearsal;
        std::ignore = engine_->sample(to_ns(Clock::now().time_since_epoch()), rehearsal, uncounted);
        engine_->add_new_rows(rehearsal);
        rehearsal.drop_samples();
        const std::lock_guard lock(mutex_);
        append(pending_, rehearsal);
    }
    const auto begin = Clock::now();
    auto handed_over = begin;
    model::SamplerStats stats;
    std::uint64_t slot = 0;
    const auto hand_over = [&] {
        engine_->add_new_rows(batch);
        const std::lock_guard lock(mutex_);
        append(pending_, batch);
        stats_ = stats;
        batch = {};
        progress_.notify_all();
    };
    for (;;) {
        const auto planned = begin + std::chrono::duration_cast<Clock::duration>(
                                         interval * (static_cast<double>(slot) + instant(random)));
        if (!sleep_until(planned)) {
            hand_over();
            return finish(End::kStopped, std::nullopt);
        }
        const auto now = Clock::now();
        const bool late = now - planned > interval / 2;
        if (late) ++stats.late;
        engine_->note_lateness(late, to_ns(now.time_since_epoch()));
        auto sampled = engine_->sample(to_ns(now.time_since_epoch()), batch, stats);

        const auto after = Clock::now();
        const auto due = static_cast<std::uint64_t>((after - begin) / interval);
        const std::uint64_t next = std::max(slot + 1, due);
        stats.missed += next - slot - 1;
        slot = next;
        stats.elapsed_ns = to_ns(after - begin);
        stats.cpu_ns = threads::own_run_time_ns();
        if (!sampled || after - handed_over >= kHandOver || interval >= kHandOver) {
            handed_over = after;
            hand_over();
        }
        if (!sampled) {
            const bool exited = sampled.error().code == ErrorCode::kTargetExited ||
                                sampled.error().code == ErrorCode::kNoSuchProcess;
            return finish(exited ? End::kTargetExited : End::kFailed, std::move(sampled).error());
        }
    }
}

/// False when stop was asked for.
bool Sampler::sleep_until(Clock::time_point time) {
    if (const auto left = time - Clock::now(); left > kLongestSleep) {
        std::unique_lock lock(mutex_);
        if (wake_.wait_until(lock, time - kLongestSleep / 2, [this] { return stop_asked_.load(); }))
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
    while (Clock::now() < time && !stop_asked_) continue;
    return !stop_asked_;
}

void Sampler::finish(End end, std::optional<Error> error) {
    const std::lock_guard lock(mutex_);
    end_ = end;
    error_ = std::move(error);
    progress_.notify_all();
}

std::optional<model::Batch> Sampler::next_batch(std::chrono::nanoseconds timeout) {
    std::unique_lock lock(mutex_);
    progress_.wait_for(lock, timeout,
                       [this] { return !pending_.time_ns.empty() || end_ != End::kRunning; });
    if (end_ != End::kRunning) {
        if (final_batch_taken_) return std::nullopt;
        final_batch_taken_ = true;
        pending_.finished = true;
    } else if (pending_.time_ns.empty()) {
        return std::nullopt;
    }
    return std::exchange(pending_, {});
}

model::SamplerStats Sampler::stats() const {
    const std::lock_guard lock(mutex_);
    return stats_;
}

Sampler::End Sampler::end() const {
    const std::lock_guard lock(mutex_);
    return end_;
}

std::optional<Error> Sampler::error() const {
    const std::lock_guard lock(mutex_);
    return error_;
}

}  // namespace pystack::capture
