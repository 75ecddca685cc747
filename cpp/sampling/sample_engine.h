#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "cpython/runtime/runtime_locator.h"
#include "model/sample.h"
#include "sampling/batch_writer.h"
#include "sampling/cpu_shares.h"
#include "sampling/program_readers.h"
#include "sampling/sampler_options.h"
#include "sampling/task_sampling.h"
#include "sampling/thread_table.h"
#include "sampling/tick.h"
#include "sampling/tick_spacing.h"
#include "sampling/wait_interner.h"
#include "sampling/wait_reasons.h"
#include "target/live_target.h"

namespace pystack::sampling {

/// Takes one sample of every thread of one process when asked. Knows nothing of clocks and
/// consumers: that is the Sampler's part. How a sample is taken is the part of RunningEngine, which
/// proves what it reads, and of StoppedEngine, which stops the target for it.
class SampleEngine {
  public:
    /// The one that the options ask for.
    static Result<std::unique_ptr<SampleEngine>> open(int pid, const SamplerOptions& options);
    virtual ~SampleEngine() = default;

    /// Adds one sample per thread to `batch`, at the time `now_ns` (CLOCK_MONOTONIC), and counts
    /// what happened in `stats`. The samples speak for the time up to `until_ns`, or to `now_ns` if
    /// that is later. An error ends the recording: kTargetExited, mostly. A sample that
    /// fails leaves a gap: the next one's weight begins where it was tried.
    Result<void> sample(std::uint64_t now_ns, model::Batch& batch, model::SamplerStats& stats,
                        std::uint64_t until_ns = 0);

    /// Completes `batch`, which is then handed over: adds what the kernel says of the threads'
    /// times, and moves the table rows that are new since the last call there. The next sample
    /// needs another.
    void complete(model::Batch& batch) {
        cpu_shares_.settle(threads_, batch);
        writer_.add_new_rows(batch, program_.interner(), wait_rows_.table(), threads_.identities());
    }

    /// Begins empty tables, after complete(): what they have is needed no more, and memory must not
    /// grow for as long as a recording lasts. Threads that live have new numbers.
    void renew_tables(std::uint64_t now_ns);

    /// The recording begins at `now_ns`: what was sampled before was not part of it.
    void begin(std::uint64_t now_ns);

    /// Whether the thread that calls sample() got its CPU too late for it; to be told each time.
    virtual void note_lateness(bool late, std::uint64_t now_ns) = 0;
    /// Until when no sample should be tried, because the last ones took too long.
    virtual std::uint64_t retry_at_ns() const = 0;

    /// Whether a thread of the target could not be let go yet. To be called often until it can.
    bool release_late_threads() { return target_->release_late_threads(); }
    /// How long the target has stood still until now.
    std::chrono::nanoseconds standing_time() const { return target_->standing_time(); }

    std::string python_version() const { return program_.runtime().version_text(); }
    /// Other interpreters of the process, which are not sampled; see `cpython::other_runtimes`.
    const std::vector<std::string>& other_runtimes() const { return program_.others(); }

  protected:
    SampleEngine(std::unique_ptr<target::LiveTarget> target, const SamplerOptions& options);

    /// One sample of each thread.
    virtual Result<void> take_samples(const Tick& tick) = 0;
    /// The readers are those of another program, and the table of threads is empty.
    virtual void begin_program() = 0;
    /// Whether samples can be taken like this at all.
    virtual Result<void> check() { return {}; }
    /// No code object is known any more.
    virtual void forget_codes() = 0;
    /// No row of the tables means anything any more.
    virtual void forget_rows() = 0;

    /// A thread was looked at as late as that.
    void note_looked_until(std::uint64_t ns) {
        looked_until_ns_ = std::max(looked_until_ns_, ns);
        speaks_until_ns_ = std::max(speaks_until_ns_, ns);
    }
    /// Looks for the interpreter again: the target may have executed another program.
    Result<void> find_again();

    std::unique_ptr<target::LiveTarget> target_;
    const SamplerOptions options_;
    ProgramReaders program_;
    ThreadTable threads_;
    WaitInterner wait_rows_;
    WaitReasons waits_;
    BatchWriter writer_;

  private:
    void use(cpython::Runtime runtime);

    const CpuShares cpu_shares_;
    std::unique_ptr<TaskSampling> tasks_;  ///< Null: tasks are not wanted.
    TickSpacing spacing_;
    std::uint64_t previous_ns_ = 0;  ///< Until when the last tick has looked.
    std::uint64_t from_ns_ = 0;      ///< For the time up to here, its samples speak.
    // Of the tick that is being taken:
    std::uint64_t looked_until_ns_ = 0;
    std::uint64_t speaks_until_ns_ = 0;
    std::uint64_t retry_find_at_ns_ = 0;
};

}  // namespace pystack::sampling
