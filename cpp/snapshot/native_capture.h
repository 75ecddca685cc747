#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "arch/registers.h"
#include "base/result.h"
#include "base/work_limits.h"
#include "merge/native_names.h"
#include "merge/native_options.h"
#include "merge/stack_copies.h"
#include "snapshot/raw_snapshot.h"
#include "target/target.h"
#include "unwind/native_unwinder.h"

namespace pystack::snapshot {

/// Native stacks of one reading: what has to be copied while the target stands still, and all that
/// is made of it afterwards.
class NativeCapture {
  public:
    /// Reads the target's mappings and opens its files, so that they are at hand even if it ends
    /// right after it was read. Not to be called while it is stopped.
    static Result<std::unique_ptr<NativeCapture>> create(const target::Target& target,
                                                         const cpython::Runtime& runtime,
                                                         merge::NativeOptions options);

    // --- while the target stands still

    void add_thread(std::int32_t tid, const arch::Registers& registers) {
        copies_.add_thread(tid, registers);
    }
    /// Of a live target: the stacks of all threads that were added. (A core has them anyway.)
    void copy_stacks(std::span<const cpython::ThreadState> states) { copies_.copy(states); }
    /// For another reading.
    void clear() { copies_.clear(); }

    // --- after it

    /// Unwinds, and fills RawSnapshot::natives. Threads must have been matched. Of those that do
    /// not run Python: all if the options say so, else that with the tid `also`.
    void merge(RawSnapshot& raw, std::optional<std::int32_t> also = std::nullopt);

    /// Whose stacks merge() left out because of the limits.
    std::size_t refused_threads() const { return refused_threads_; }

    const merge::NativeOptions& options() const { return options_; }
    /// For a target that has no Python threads.
    void include_all_threads() {
        options_.all_threads = true;
        options_.last_only = false;
    }
    merge::NativeNames& names() { return names_; }

  private:
    NativeCapture(const target::Target& target, const cpython::Runtime& runtime,
                  std::unique_ptr<unwind::NativeUnwinder> unwinder, merge::NativeOptions options);

    void merge_one(RawSnapshot& raw, std::size_t info, std::span<const std::size_t> states);

    const target::Target& target_;
    const cpython::Runtime& runtime_;
    merge::NativeOptions options_;
    std::unique_ptr<unwind::NativeUnwinder> unwinder_;
    merge::NativeNames names_;
    merge::StackCopies copies_;
    LimitsShare share_;
    std::size_t refused_threads_ = 0;
};

}  // namespace pystack::snapshot
