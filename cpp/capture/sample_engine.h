#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "capture/code_watch.h"
#include "capture/frame_interner.h"
#include "capture/interpreter_watch.h"
#include "capture/native_sampling.h"
#include "capture/rest_watch.h"
#include "capture/sleep_watch.h"
#include "capture/task_watch.h"
#include "capture/thread_identities.h"
#include "capture/thread_prover.h"
#include "capture/tracked_thread.h"
#include "cpython/code_reader.h"
#include "cpython/runtime_locator.h"
#include "cpython/stack_reader.h"
#include "memory/read_batch.h"
#include "model/sample.h"
#include "target/live_target.h"

namespace pystack::capture {

struct SamplerOptions {
    double rate_hz = 100;
    bool stop = false;        ///< Stop the target for each sample, instead of proving the samples.
    bool exhaustive = false;  ///< As in CaptureOptions.
    std::size_t max_depth = 100'000;
    /// Native frames too: the threads that have run are stopped for each sample.
    std::optional<NativeOptions> native{};
};

/// Takes one sample of every thread of one process when asked. Knows nothing of clocks and
/// consumers: that is the Sampler's part.
///
/// A tick that stops nothing is one batched read: the links of the lists of interpreters and
/// threads, their GILs, each thread state, the stacks of the threads that did not move of late, the
/// proof of one that did, and the code objects in use. What that read confirms is a sample; a
/// thread that moved is proved by calls of its own.
class SampleEngine {
  public:
    static Result<std::unique_ptr<SampleEngine>> open(int pid, const SamplerOptions& options);

    /// Adds one sample per thread to `batch`, at the time `now_ns` (CLOCK_MONOTONIC), and counts
    /// what happened in `stats`. An error ends the recording: kTargetExited, mostly. A sample that
    /// fails leaves a gap: the next one's weight begins where it was tried.
    Result<void> sample(std::uint64_t now_ns, model::Batch& batch, model::SamplerStats& stats);

    /// Whether the thread that calls sample() got its CPU too late for it; to be told each time.
    void note_lateness(bool late, std::uint64_t now_ns) { prover_.note_lateness(late, now_ns); }

    /// Moves the table rows that are new since the last call into `batch`, which is then handed
    /// over: the next sample needs another.
    void add_new_rows(model::Batch& batch);

    const cpython::PythonVersion& version() const { return runtime_.version; }

  private:
    using Asked = TrackedThread::Asked;

    SampleEngine(std::unique_ptr<target::LiveTarget> target, cpython::Runtime runtime,
                 const SamplerOptions& options);

    void use(cpython::Runtime runtime);
    Result<void> find_again();
    Result<void> sample_stopped(std::uint64_t now_ns, model::Batch& batch,
                                model::SamplerStats& stats);
    struct StillStack {
        cpython::StackOutcome outcome;
        std::vector<cpython::RawFrame> frames;  ///< Innermost first.
        std::optional<model::FrameId> task;
        bool sleeps = false;  ///< Since its last sample, which holds.
    };
    void look_at_threads(std::uint64_t now_ns);
    bool sleeps(const cpython::ThreadState& state) const;
    void remember_sleepers(std::int32_t tid, std::span<const std::size_t> states,
                           std::vector<StillStack>& reads);
    std::vector<StillStack> read_still(const threads::StopGuard& guard,
                                       std::span<const pid_t> asleep);
    void intern_native(std::vector<StillStack>& reads, std::uint64_t now_ns, model::Batch& batch,
                       model::SamplerStats& stats);
    void record_unknown_threads(std::vector<StillStack>& reads, std::uint64_t now_ns,
                                model::Batch& batch, model::SamplerStats& stats);
    void sample_moving(std::uint64_t now_ns, model::Batch& batch, model::SamplerStats& stats);

    void find_tasks(std::uint64_t now_ns);
    void read_tick(std::uint64_t now_ns);
    void let_rest(std::uint64_t now_ns);
    void note_rest();
    std::int32_t tid_of(std::size_t index) const { return identities_.of(indices_[index]).tid; }
    bool had_gil_last(std::size_t index) const;
    bool wake_holder(std::size_t index, std::uint64_t now_ns);
    void plan_tick();
    void ask(std::size_t index, Asked what);
    void follow_threads(std::uint64_t now_ns);
    void identify(std::uint64_t now_ns);
    void update_use();

    void record(std::size_t index, model::StackEnd end, bool moved, std::uint64_t now_ns,
                model::Batch& batch, model::SamplerStats& stats);
    void add_sample(TrackedThread& thread, std::uint8_t bits, std::uint64_t now_ns,
                    model::Batch& batch) const;
    std::uint8_t state_bits(std::size_t index, bool moved, std::uint64_t now_ns);
    std::optional<std::int32_t> thread_flag(std::size_t index, cpython::FieldOffset field) const;

    std::unique_ptr<target::LiveTarget> target_;
    SamplerOptions options_;
    cpython::Runtime runtime_;
    std::unique_ptr<cpython::StackReader> stacks_;
    std::unique_ptr<cpython::CodeReader> codes_;
    std::unique_ptr<InterpreterWatch> watch_;
    std::unique_ptr<FrameInterner> interner_;
    std::unique_ptr<CodeWatch> code_watch_;
    std::unique_ptr<TaskWatch> tasks_;  ///< When asyncio was found.
    std::unique_ptr<NativeSampling> native_;
    std::unique_ptr<SleepWatch> sleep_watch_;  ///< With native frames.

    std::unique_ptr<RestWatch> rest_watch_;  ///< Without stopping.
    std::uint64_t let_rest_at_ns_ = 0;
    std::vector<std::int32_t> asleep_;

    ThreadProver prover_;
    ThreadIdentities identities_;
    memory::ReadBatch batch_;  ///< Of the tick.
    bool batch_holds_ = false;
    cpython::Pace batch_pace_ = cpython::Pace::kSlow;
    std::vector<std::size_t> thread_pieces_;  ///< Per thread, the piece that is its thread state.
    std::vector<TrackedThread*> order_;       ///< As the watch's threads.
    std::vector<std::uint32_t> indices_;      ///< Theirs.
    std::size_t inline_thread_ = 0;           ///< The one whose proof is part of the tick's batch.
    std::uint64_t followed_ = 0;              ///< The watch's changes that order_ is made of.
    bool use_changed_ = true;

    std::vector<std::int32_t> system_threads_;  ///< With native frames: all of the last stop.
    std::unordered_map<std::int32_t, std::unique_ptr<TrackedThread>>
        unknown_threads_;  ///< Of them, those that no interpreter knows.
    std::unordered_map<RemoteAddr, std::unique_ptr<TrackedThread>>
        by_state_;  ///< By address of the thread state.
    std::uint64_t batch_number_ = 1;
    std::uint64_t previous_ns_ = 0;
    std::uint64_t retry_find_at_ns_ = 0;
    // When to look for asyncio again, and how long to wait after that.
    std::uint64_t find_tasks_at_ns_ = 0;
    std::uint64_t find_tasks_pause_ns_ = 0;
    struct Handed {
        std::size_t strings = 0, frames = 0, stacks = 0;
    } handed_;
};

}  // namespace pystack::capture
