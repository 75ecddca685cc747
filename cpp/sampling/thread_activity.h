#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <optional>

#include "arch/registers.h"
#include "cpython/runtime/gil_state.h"
#include "process/open_proc_file.h"
#include "process/proc_files.h"

namespace pystack::sampling {

/// Whether a thread runs, and whether it waits for the GIL, at each of its samples: what the
/// interpreter says of it first, and where that does not tell, the kernel. A thread whose Python
/// stack stands still may begin to wait, or to compute in C: it is looked at less and less often.
class ThreadActivity {
  public:
    /// What is known of the thread at a sample.
    struct Sample {
        std::uint64_t now_ns = 0;
        bool moved = true;         ///< Its stack is another than at the last sample.
        bool runs_python = false;  ///< It holds what is needed for that: the GIL, mostly.
        bool asks_for_gil = false;
        RemoteAddr thread_state;
        const cpython::Gil* gil = nullptr;  ///< Of its interpreter, if known.
        /// The same as it is now, with all of its futexes.
        std::function<std::optional<cpython::Gil>()> read_gil{};
        std::size_t thread_count = 1;  ///< Of the process: with many, each is looked at less.
    };

    void set_thread(pid_t pid, pid_t tid) { file_.set_thread(pid, tid); }
    /// model::SampleState bits.
    std::uint8_t bits(const Sample& sample);
    /// Those of the last sample.
    std::uint8_t last_bits() const { return bits_; }
    /// The system call that it was blocked in when the kernel was asked last; nullopt: in none, or
    /// it was seen to run since. `looks` counts how often what is known of it became new.
    const std::optional<arch::Syscall>& call() const { return call_; }
    std::uint64_t looks() const { return looks_; }
    /// Asks the kernel now; nullopt: it is blocked in no call.
    std::optional<arch::Syscall> call_now();
    /// And where its code has made that call.
    std::optional<process::BlockedAt> place_now();
    /// Whether its stack has been the same for so long, and it was seen blocked.
    bool sleeps_for(std::uint64_t ns, std::uint64_t now_ns) const;

  private:
    std::uint8_t look(const Sample& sample);
    bool waits_for_gil(const Sample& sample) const;
    void forget_call();

    process::OpenProcFile file_{"syscall"};
    std::uint64_t moved_ns_ = 0;
    std::uint64_t look_at_ns_ = 0;
    std::uint8_t bits_ = 0;
    std::optional<arch::Syscall> call_;
    std::uint64_t looks_ = 0;
};

}  // namespace pystack::sampling
