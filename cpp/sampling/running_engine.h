#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "sampling/idle_threads.h"
#include "sampling/os_threads.h"
#include "sampling/sample_engine.h"
#include "sampling/share_budget.h"
#include "sampling/stopped_threads.h"
#include "sampling/thread_prover.h"
#include "sampling/tick_reader.h"

namespace pystack::sampling {

/// Samples a target that goes on running. What the batch of a tick confirms is a sample; a thread
/// that moved is proved by calls of its own. If the options allow it, a thread whose proofs keep
/// failing is stopped for its samples.
class RunningEngine final : public SampleEngine {
  public:
    RunningEngine(std::unique_ptr<target::LiveTarget> target, const SamplerOptions& options);

    void note_lateness(bool late, std::uint64_t now_ns) override {
        prover_.note_lateness(late, now_ns);
    }
    std::uint64_t retry_at_ns() const override { return 0; }

  private:
    Result<void> take_samples(const Tick& tick) override;
    void begin_program() override;
    void forget_codes() override;
    void forget_rows() override;

    ThreadProver::Outcome sample_state(std::size_t state, const Tick& tick);
    void sample_thread(std::size_t thread, const Tick& tick);
    bool sample_stopped(std::span<const std::size_t> states, const Tick& tick);
    void sample_nested(std::vector<std::size_t> states, const Tick& tick);
    ThreadProver::Outcome prove_together(std::span<std::size_t> states, const Tick& tick);
    void record(std::span<const std::size_t> innermost_first, ThreadProver::Outcome outcome,
                const Tick& tick);
    model::StackId stack_of(std::span<const std::size_t> innermost_first);
    std::uint8_t activity_bits(std::size_t thread, bool moved, std::uint64_t now_ns);
    void prepare_next();

    void update_idle();
    bool had_gil_last(std::size_t thread) const;
    bool wake_holder(std::size_t thread, std::uint64_t now_ns);
    void mark_idle(std::uint64_t now_ns);

    ThreadProver prover_;
    TickReader reader_;
    OsThreads os_threads_;
    StoppedThreads stopped_;
    ShareBudget pauses_;
    std::uint64_t stop_from_ns_ = 0;  ///< No thread is stopped before.
    std::unique_ptr<IdleThreadFilter> idle_threads_;
    std::uint64_t mark_idle_at_ns_ = 0;
    std::vector<std::int32_t> asleep_;
    // Whether the code objects in use are not those of the last tick.
    bool use_changed_ = true;
    std::uint64_t use_of_changes_ = 0;  ///< The threads' changes() then.
};

}  // namespace pystack::sampling
