#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "sampling/sample_engine.h"

namespace pystack::sampling {

/// A thread that takes samples by the clock and hands them over in batches.
///
/// One sample in each interval, at an instant of it that nobody can know (SampleInstants): a
/// program with a period of its own is not met always at the same place, and the samples stay as
/// even as the clock. A sample speaks for its interval. An interval that is over before its turn
/// comes is skipped and counted, never made up for.
class Sampler {
  public:
    enum class End : std::uint8_t { kRunning, kStopped, kTargetExited, kFailed };

    static Result<std::unique_ptr<Sampler>> open(int pid, const SamplerOptions& options);
    ~Sampler();

    void start();
    /// Waits up to `timeout` for samples or counts; nullopt when there are none. After the end
    /// comes one batch with `finished` set, then nullopt at once. No sample is in two batches, and
    /// none is counted twice.
    std::optional<model::Batch> next_batch(std::chrono::nanoseconds timeout);
    /// Asks for empty tables, so that memory does not grow for as long as the recording lasts. The
    /// batch with `ends_tables` set is the last one of the old ones; it comes soon, whatever the
    /// rate, and never if the sampling ends first. No time is between the two.
    void renew_tables();
    /// Another SamplerOptions::max_cpu_share, from the next sample on.
    void set_max_cpu_share(double share) { max_cpu_share_ = share; }
    /// Ends the sampling and releases the target; returns when it has. Idempotent. A sample that
    /// takes long is given up for it.
    void stop();

    std::string python_version() const { return version_; }
    /// Other interpreters of the process, found until now: version and file. They are not sampled.
    std::vector<std::string> other_runtimes() const;
    End end() const;
    std::optional<Error> error() const;

  private:
    using Clock = std::chrono::steady_clock;

    Sampler(std::unique_ptr<SampleEngine> engine, const SamplerOptions& options);

    Result<void> run();
    bool sleep_until(Clock::time_point time);
    bool is_disturbed() const { return stop_asked_ || renewal_asked_; }
    bool has_news() const;
    void finish(End end, std::optional<Error> error);

    const SamplerOptions options_;
    const std::string version_;
    std::unique_ptr<SampleEngine> engine_;  ///< Used by the sampling thread only.
    std::thread thread_;

    mutable std::mutex mutex_;
    std::condition_variable wake_;      ///< For the sampling thread: stop was asked for.
    std::condition_variable progress_;  ///< For the consumer: samples, or the end.
    std::atomic<bool> stop_asked_ = false;
    std::atomic<bool> renewal_asked_ = false;
    std::atomic<double> max_cpu_share_;
    bool final_batch_taken_ = false;
    /// Never empty: the last one grows, and those before it end their tables.
    std::deque<model::Batch> pending_ = std::deque<model::Batch>(1);
    std::vector<std::string> other_runtimes_;
    End end_ = End::kRunning;
    std::optional<Error> error_;
};

}  // namespace pystack::sampling
