#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "capture/native_names.h"
#include "capture/reading.h"
#include "capture/stack_copies.h"
#include "target/target.h"
#include "threads/registers.h"
#include "unwind/debug_files.h"
#include "unwind/native_unwinder.h"

namespace pystack::capture {

struct NativeOptions {
    bool all_threads = false;  ///< Those as well that the interpreter does not know.
    bool last_only = false;    ///< Only the frames that the innermost Python frame called.
    /// Of each thread's stack, at most so much from the stack pointer on is copied for a sample of
    /// a recording: enough for a few hundred calls, and 20 us. What lies further out is a gap.
    std::uint64_t sampled_stack_bytes = 1 << 20;
    /// Roots of file systems where separate debug files may be.
    std::vector<std::string> debug_roots = {""};
    /// See unwind::DebugFileOptions. It is called only while the target runs, from the thread that
    /// called capture_live or capture_core. Recordings may call it at any time, but ask for all
    /// that is mapped at their beginning then.
    unwind::FetchDebugFile fetch_debug_file{};

    /// The same, with debug files looked for below `root` first.
    NativeOptions with_debug_root(std::string root) const {
        NativeOptions wanted = *this;
        wanted.debug_roots.insert(wanted.debug_roots.begin(), std::move(root));
        return wanted;
    }
    /// For a process: they may be where its own files are, and its root may be another than ours.
    NativeOptions of_process(std::int32_t pid) const {
        return with_debug_root("/proc/" + std::to_string(pid) + "/root");
    }
    unwind::DebugFileOptions debug_files() const {
        return {.roots = debug_roots, .fetch = fetch_debug_file};
    }
};

/// Native stacks of one reading: what has to be copied while the target stands still, and all that
/// is made of it afterwards.
class NativeCapture {
  public:
    /// Reads the target's mappings and opens its files, so that they are at hand even if it ends
    /// right after it was read. Not to be called while it is stopped.
    static Result<std::unique_ptr<NativeCapture>> create(const target::Target& target,
                                                         const cpython::Runtime& runtime,
                                                         NativeOptions options);

    // --- while the target stands still

    void add_thread(std::int32_t tid, const threads::Registers& registers) {
        copies_.add_thread(tid, registers);
    }
    /// Of a live target: the stacks of all threads that were added. (A core has them anyway.)
    void copy_stacks(std::span<const cpython::ThreadState> states) { copies_.copy(states); }
    /// For another reading.
    void clear() { copies_.clear(); }

    // --- after it

    /// Unwinds, and fills Reading::natives. Threads must have been matched.
    void merge(Reading& reading);

    const NativeOptions& options() const { return options_; }
    NativeNames& names() { return names_; }

  private:
    NativeCapture(const target::Target& target, const cpython::Runtime& runtime,
                  std::unique_ptr<unwind::NativeUnwinder> unwinder, NativeOptions options);

    const target::Target& target_;
    const cpython::Runtime& runtime_;
    NativeOptions options_;
    std::unique_ptr<unwind::NativeUnwinder> unwinder_;
    NativeNames names_;
    StackCopies copies_;
};

}  // namespace pystack::capture
