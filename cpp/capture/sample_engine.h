#pragma once

#include <cstdint>
#include <memory>
#include <unordered_map>
#include <vector>

#include "cpython/code_reader.h"
#include "cpython/interpreter_walker.h"
#include "cpython/runtime_locator.h"
#include "cpython/stack_reader.h"
#include "model/sample.h"
#include "target/live_target.h"

namespace pystack::capture {

struct SamplerOptions {
    double rate_hz = 100;
    bool stop = false;        ///< Stop the target for each sample, instead of proving the samples.
    bool exhaustive = false;  ///< As in CaptureOptions.
    std::size_t max_depth = 100'000;
};

/// Takes one sample of every thread of one process when asked. Knows nothing of clocks and
/// consumers: that is the Sampler's part.
class SampleEngine {
  public:
    static Result<std::unique_ptr<SampleEngine>> open(int pid, const SamplerOptions& options);

    /// Adds one sample per thread to `batch`, at the time `now_ns` (CLOCK_MONOTONIC), and counts
    /// what happened in `stats`. An error ends the recording: kTargetExited, mostly. A sample that
    /// fails leaves a gap: the next one's weight begins where it was tried.
    Result<void> sample(std::uint64_t now_ns, model::Batch& batch, model::SamplerStats& stats);

    /// Moves the table rows that are new since the last call into `batch`.
    void add_new_rows(model::Batch& batch);

    const cpython::PythonVersion& version() const { return runtime_.version; }

  private:
    struct Thread {
        std::uint32_t index = 0;  ///< In threads_.
        std::uint64_t last_ns = 0;
        std::uint64_t seen_at_tick = 0;
        /// When to ask again who it is, and how long to wait after that.
        std::uint64_t identify_at_ns = 0;
        std::uint64_t identify_pause_ns = 0;
        cpython::ReadPlan plan;
    };

    SampleEngine(std::unique_ptr<target::LiveTarget> target, cpython::Runtime runtime,
                 const SamplerOptions& options);

    void use(cpython::Runtime runtime);
    Result<void> find_again();
    Result<void> sample_stopped(std::uint64_t now_ns, model::Batch& batch,
                                model::SamplerStats& stats);
    void sample_moving(std::uint64_t now_ns, model::Batch& batch, model::SamplerStats& stats);
    Thread& thread_of(const cpython::ThreadState& state, std::uint64_t now_ns);
    void identify(std::uint64_t now_ns);
    void set_identity(std::uint32_t index, model::SampledThread identity);
    void forget_vanished();
    cpython::StackOutcome prove(const cpython::ThreadState& state, cpython::ReadPlan& plan);
    void record(const cpython::ThreadState& state, const cpython::StackOutcome& outcome,
                std::uint64_t now_ns, std::uint8_t state_bits, model::Batch& batch,
                model::SamplerStats& stats);
    std::uint8_t state_bits(const cpython::ThreadState& state) const;
    void read_gils();
    model::StackId intern(std::span<const cpython::RawFrame> frames);
    model::FrameId intern(const cpython::Code& code, std::int64_t offset);

    std::unique_ptr<target::LiveTarget> target_;
    SamplerOptions options_;
    cpython::Runtime runtime_;
    std::unique_ptr<cpython::StackReader> stacks_;
    std::unique_ptr<cpython::CodeReader> codes_;
    cpython::WalkedInterpreters walked_;
    std::vector<cpython::RawFrame> frames_;  ///< Of the thread being sampled, innermost first.
    std::vector<RemoteAddr> gil_holders_;    ///< Per interpreter; null: nobody or unknown.
    std::vector<bool> gil_known_;

    struct FrameKey {
        const cpython::Code* code;
        std::int64_t offset;
        bool operator==(const FrameKey&) const = default;
    };
    struct FrameKeyHash {
        std::size_t operator()(const FrameKey& key) const {
            return std::hash<const void*>{}(key.code) ^
                   (static_cast<std::size_t>(key.offset) * 0x9E3779B97F4A7C15u);
        }
    };
    model::StringTable strings_;
    std::vector<model::FrameRow> frame_rows_;
    std::unordered_map<FrameKey, model::FrameId, FrameKeyHash> frame_ids_;
    model::StackTable stack_table_;
    std::vector<model::SampledThread> threads_;
    std::vector<std::uint32_t> changed_threads_;       ///< Not handed over yet.
    std::unordered_map<RemoteAddr, Thread> by_state_;  ///< By address of the thread state.
    std::unordered_map<RemoteAddr, std::uint64_t> unique_ids_;
    std::uint64_t tick_ = 0;
    std::uint64_t previous_ns_ = 0;
    std::uint64_t retry_find_at_ns_ = 0;
    struct Handed {
        std::size_t strings = 0, frames = 0, stacks = 0;
    } handed_;
};

}  // namespace pystack::capture
