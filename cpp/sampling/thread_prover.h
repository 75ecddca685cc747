#pragma once

#include <chrono>
#include <cstdint>
#include <optional>

#include "cpython/frames/code_reader.h"
#include "cpython/frames/stack_reader.h"
#include "cpython/runtime/cached_interpreters.h"
#include "memory/read_batch.h"
#include "process/cpu_affinity.h"
#include "sampling/code_validator.h"
#include "sampling/frame_interner.h"
#include "sampling/task_names.h"
#include "sampling/tracked_thread.h"

namespace pystack::sampling {

/// Proves the stacks of running threads, one thread at a time, and interns them.
class ThreadProver {
  public:
    /// What reads one interpreter. All must outlive it.
    struct Readers {
        cpython::StackReader& stacks;
        cpython::CodeReader& codes;
        FrameInterner& interner;
        CodeValidator& code_validator;
        const cpython::CachedInterpreters& interpreters;
    };
    /// The batch of the tick, as it was read.
    struct TickBatch {
        const memory::ReadBatch& batch;
        bool holds = false;  ///< It belongs to the threads that there are.
        memory::ReadTiming timing = memory::ReadTiming::kInterrupted;
    };
    struct Outcome {
        model::StackEnd end = model::StackEnd::kTorn;
        bool moved = true;  ///< The stack is another than at the last sample.
    };

    /// `pid` in our own pid namespace.
    ThreadProver(std::int32_t pid, double rate_hz);

    void use(const Readers& readers) { readers_.emplace(readers); }
    /// Once asyncio was found; null: not any more.
    void use_tasks(TaskNames* tasks) { tasks_ = tasks; }

    void begin_tick(std::uint64_t now_ns);
    /// The stack of `thread`, by what the tick's batch holds of it or by calls of its own. `tid`: 0
    /// when it is not known.
    Outcome sample(TrackedThread& thread, const cpython::ThreadState& state, std::int32_t tid,
                   const TickBatch& tick);

    /// Whether the thread that samples got its CPU too late for it; to be told each time.
    void note_lateness(bool late, std::uint64_t now_ns);

  private:
    static constexpr std::uint64_t kFirstKeepOffNs = 1'000'000'000;

    model::StackEnd prove(TrackedThread& thread, const cpython::ThreadState& state,
                          std::int32_t tid, bool failed_before);
    bool fails_often(bool failed);
    bool is_out_of_time() const;
    bool did_not_run(std::int32_t tid) const;
    bool did_not_run_since(std::optional<std::uint64_t> run_before_ns, std::int32_t tid) const;
    bool prove_call(TrackedThread& thread, const cpython::ThreadState& state, std::int32_t tid);
    bool name_task(TrackedThread& thread, const cpython::ThreadState& state,
                   std::optional<model::FrameId>& frame);
    bool may_be_complete(TrackedThread& thread) const;
    bool wait_patiently();

    std::optional<Readers> readers_;
    TaskNames* tasks_ = nullptr;
    const std::int32_t pid_;
    const bool may_pin_;
    const std::chrono::nanoseconds patience_;
    std::uint64_t now_ns_ = 0;
    std::chrono::nanoseconds waited_{};  ///< In this tick.
    std::chrono::steady_clock::time_point sample_until_;
    std::chrono::steady_clock::time_point proof_begin_;  ///< The last one's, or earlier.
    process::CpuAffinity affinity_;
    int failures_ = 0;  ///< Of late, of proofs from another CPU.
    int pinned_ticks_left_ = 0;
    std::uint64_t pin_from_ns_ = 0;  ///< Not before this time.
    std::uint64_t keep_off_ns_ = kFirstKeepOffNs;
    int lateness_ = 0;
};

}  // namespace pystack::sampling
