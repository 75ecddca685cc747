#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "cpython/frames/stack_reader.h"
#include "process/stop_guard.h"
#include "sampling/blocked_threads.h"
#include "sampling/native_sampling.h"
#include "sampling/sample_engine.h"
#include "sampling/stop_backoff.h"
#include "sampling/unclaimed_threads.h"

namespace pystack::sampling {

/// Samples a target that stands still for each sample, with native frames if asked for. While it
/// stands still, only what is needed is copied.
class StoppedEngine final : public SampleEngine {
  public:
    StoppedEngine(std::unique_ptr<target::LiveTarget> target, const SamplerOptions& options);

    void note_lateness(bool, std::uint64_t) override {}
    std::uint64_t retry_at_ns() const override { return backoff_.retry_at_ns(); }

  private:
    /// What was read of one thread state.
    struct StackRead {
        cpython::StackOutcome outcome;
        std::vector<cpython::RawFrame> frames;  ///< Innermost first.
        std::optional<model::FrameId> task;
        bool is_asleep = false;  ///< Since its last sample, which holds.
    };

    Result<void> check() override;
    Result<void> take_samples(const Tick& tick) override;
    void begin_program() override;
    void forget_codes() override;

    void look_at_threads(std::uint64_t now_ns);
    bool is_asleep(const cpython::ThreadState& state) const;
    std::vector<StackRead> read(const process::StopGuard& guard, std::span<const pid_t> asleep);
    void copy_native_stacks(const process::StopGuard& guard, std::span<const pid_t> asleep);
    Result<void> lose_samples(Error error, const Tick& tick);

    void intern(std::vector<StackRead>& reads);
    void intern_native(std::vector<StackRead>& reads, const Tick& tick);
    std::int32_t claimed_tid(std::size_t thread) const;
    void remember_blocked(std::int32_t tid, std::span<const std::size_t> states,
                          std::vector<StackRead>& reads);
    void sample_unclaimed(std::vector<StackRead>& reads, const Tick& tick);

    StopBackoff backoff_;
    // With native frames:
    std::unique_ptr<NativeSampling> native_;
    std::unique_ptr<BlockedThreadCache> blocked_threads_;
    UnclaimedThreads unclaimed_;
    std::vector<std::int32_t> system_threads_;  ///< All of the last stop.
};

}  // namespace pystack::sampling
