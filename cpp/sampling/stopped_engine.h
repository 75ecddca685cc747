#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "sampling/blocked_threads.h"
#include "sampling/native_sampling.h"
#include "sampling/os_threads.h"
#include "sampling/sample_engine.h"
#include "sampling/stop_backoff.h"
#include "sampling/stopped_threads.h"
#include "sampling/unclaimed_threads.h"

namespace pystack::sampling {

/// Samples threads that stand still for it, one after the other, with native frames if asked for.
/// Each stands still for as long as its own copy takes. Those that have not run since their last
/// sample are not stopped.
class StoppedEngine final : public SampleEngine {
  public:
    StoppedEngine(std::unique_ptr<target::LiveTarget> target, const SamplerOptions& options);

    void note_lateness(bool, std::uint64_t) override {}
    std::uint64_t retry_at_ns() const override { return backoff_.retry_at_ns(); }

  private:
    /// A thread of the system, to be sampled in this tick.
    struct Visit {
        std::int32_t tid = 0;  ///< 0: several, of which the ids are not known.
        /// The thread states that run on it, by their places in the list; the innermost first.
        std::vector<std::size_t> states{};
        TrackedThread* unclaimed = nullptr;  ///< No interpreter knows it.
        std::uint64_t asked_ns = 0;          ///< When it was first asked to stop in this tick.
    };

    Result<void> check() override;
    Result<void> take_samples(const Tick& tick) override;
    void begin_program() override;
    void forget_codes() override;
    void forget_rows() override;

    void forget_blocked();
    bool is_asleep(const cpython::ThreadState& state) const;
    std::vector<Visit> plan_visits(const Tick& tick);
    void plan_unclaimed(std::vector<Visit>& visits, const Tick& tick);
    bool sample_starting(std::size_t state, const Tick& tick);
    Result<void> sample_all(std::vector<Visit> visits, const Tick& tick);
    /// False: it has not stopped yet.
    Result<bool> sample(Visit& visit, std::chrono::milliseconds patience, const Tick& tick);
    void look_at(const Visit& visit, std::uint64_t now_ns);
    Result<void> lose_refused(const Visit& visit, const Tick& tick);
    void lose(const Visit& visit, const Tick& tick, std::uint64_t& count);

    void note_frames(Visit& visit);
    void intern(const Visit& visit);
    void intern_native(std::int32_t tid, std::span<const std::size_t> places, const Visit& visit);
    void remember_blocked(std::int32_t tid, std::span<const std::size_t> places,
                          const Visit& visit);
    void add(const Visit& visit, const Tick& tick);
    void add_thread(std::span<const std::size_t> states, std::span<const StateRead> reads,
                    const Tick& tick);
    void add_native(TrackedThread& thread, const Tick& tick, std::uint8_t state,
                    model::WaitId wait = 0);
    model::WaitId wait_of(std::size_t state);

    OsThreads os_threads_;
    StoppedThreads stopped_;
    StopBackoff backoff_;
    // With native frames:
    std::unique_ptr<NativeSampling> native_;
    std::unique_ptr<BlockedThreadCache> blocked_threads_;
    UnclaimedThreads unclaimed_;
};

}  // namespace pystack::sampling
