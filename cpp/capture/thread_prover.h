#pragma once

#include <chrono>
#include <cstdint>
#include <optional>

#include "capture/code_watch.h"
#include "capture/frame_interner.h"
#include "capture/interpreter_watch.h"
#include "capture/task_watch.h"
#include "capture/tracked_thread.h"
#include "cpython/code_reader.h"
#include "cpython/stack_reader.h"
#include "memory/read_batch.h"
#include "threads/cpu_follower.h"

namespace pystack::capture {

/// Proves the stacks of running threads, one thread at a time, and interns them.
class ThreadProver {
  public:
    /// What reads one interpreter. All must outlive it.
    struct Readers {
        cpython::StackReader& stacks;
        cpython::CodeReader& codes;
        FrameInterner& interner;
        CodeWatch& code_watch;
        const InterpreterWatch& watch;
    };
    /// The batch of the tick, as it was read.
    struct TickBatch {
        const memory::ReadBatch& batch;
        bool holds = false;  ///< It belongs to the threads that there are.
        cpython::Pace pace = cpython::Pace::kSlow;
    };
    struct Outcome {
        model::StackEnd end = model::StackEnd::kTorn;
        bool moved = true;  ///< The stack is another than at the last sample.
    };

    /// `pid` in our own pid namespace.
    ThreadProver(std::int32_t pid, double rate_hz);

    void use(const Readers& readers) { readers_.emplace(readers); }
    /// Once asyncio was found; null: not any more.
    void use_tasks(TaskWatch* tasks) { tasks_ = tasks; }

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
    bool stood_still(std::int32_t tid) const;
    bool prove_call(TrackedThread& thread, const cpython::ThreadState& state, std::int32_t tid);
    bool name_task(TrackedThread& thread, const cpython::ThreadState& state,
                   std::optional<model::FrameId>& frame);
    bool may_begin_there(TrackedThread& thread) const;
    bool wait_patiently();

    std::optional<Readers> readers_;
    TaskWatch* tasks_ = nullptr;
    const std::int32_t pid_;
    const bool may_follow_;
    const std::chrono::nanoseconds patience_;
    std::uint64_t now_ns_ = 0;
    std::chrono::nanoseconds waited_{};                  ///< In this tick.
    std::chrono::steady_clock::time_point proof_begin_;  ///< The last one's, or earlier.
    threads::CpuFollower follower_;
    int failures_ = 0;  ///< Of late, of proofs from another CPU.
    int followed_ticks_left_ = 0;
    std::uint64_t follow_from_ns_ = 0;  ///< Not before this time.
    std::uint64_t keep_off_ns_ = kFirstKeepOffNs;
    int lateness_ = 0;
};

}  // namespace pystack::capture
