#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/result.h"
#include "cpython/frames/stack_outcome.h"
#include "model/sample.h"
#include "process/stop_guard.h"
#include "sampling/native_sampling.h"
#include "sampling/os_threads.h"
#include "sampling/program_readers.h"
#include "target/live_target.h"

namespace pystack::sampling {

/// What was read of one thread state.
struct StateRead {
    cpython::StackOutcome outcome;
    std::vector<cpython::RawFrame> frames;  ///< Innermost first.
    std::optional<model::FrameId> task;
    std::uint8_t gil_bits = 0;  ///< See ProgramReaders::gil_bits.
    bool is_listed = true;      ///< The thread state is still in its list.
};

inline OsThreads::Frames frames_of(const StateRead& read) {
    return {.frames = read.frames,
            .outermost = read.frames.empty() ? RemoteAddr{} : read.frames.back().address,
            .c_frame = read.outcome.c_frame};
}

/// Stops one thread of the target at a time and reads it, while all others run. A thread that has
/// to wait for a CPU before it can stop holds up nobody.
class StoppedThreads {
  public:
    /// All must outlive it.
    StoppedThreads(target::LiveTarget& target, ProgramReaders& program)
        : target_(target), program_(program) {}

    enum class Outcome : std::uint8_t {
        kRead,
        kNotYet,  ///< It waits for a CPU, and has not run its own code since it was asked to stop.
        kEnded,
        kRefused,  ///< See error().
    };

    /// Reads the thread `tid` and its thread states, by their places in the list of interpreters;
    /// again when it was caught between two frames, which takes it some instructions. `tid` 0: it
    /// is not known which threads these are, so all are stopped. `native`, if any, copies the
    /// native stack.
    Outcome read(pid_t tid, std::span<const std::size_t> states, std::chrono::milliseconds patience,
                 NativeSampling* native, model::SamplerStats& stats);

    /// Of the last read(), as `states` there.
    std::vector<StateRead>& reads() { return reads_; }
    /// When they stood still: CLOCK_MONOTONIC.
    std::uint64_t read_at_ns() const { return read_at_ns_; }
    /// Why the last read() was refused.
    const Error& error() const { return error_; }

  private:
    Outcome read_ended(std::span<const std::size_t> states, NativeSampling* native);
    void read_states(std::span<const std::size_t> states);
    void copy_native_stacks(const process::StopGuard& guard, pid_t tid,
                            std::span<const std::size_t> states, NativeSampling& native) const;

    target::LiveTarget& target_;
    ProgramReaders& program_;
    std::vector<StateRead> reads_;
    std::uint64_t read_at_ns_ = 0;
    Error error_;
};

}  // namespace pystack::sampling
