#pragma once

#include <cstdint>
#include <future>
#include <memory>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "base/pace.h"
#include "base/result.h"
#include "cpython/runtime/runtime_locator.h"
#include "merge/native_names.h"
#include "merge/native_options.h"
#include "merge/stack_copies.h"
#include "merge/thread_merge.h"
#include "sampling/frame_interner.h"
#include "target/target.h"
#include "unwind/native_unwinder.h"

namespace pystack::sampling {

/// The native part of samples. While the target stands still, registers and stacks are copied; all
/// else comes after it. What a run of native frames between two Python frames is called is found
/// out once, when it is met first.
class NativeSampling {
  public:
    /// All must outlive it. Reads names and opens files: not to be called while the target is
    /// stopped.
    static Result<std::unique_ptr<NativeSampling>> create(const target::Target& target,
                                                          const cpython::Runtime& runtime,
                                                          merge::NativeOptions options,
                                                          FrameInterner& interner);

    // --- while the target stands still

    void begin() {
        copies_.clear();
        by_thread_pointer_.clear();
    }
    void add_thread(std::int32_t tid, const arch::Registers& registers) {
        copies_.add_thread(tid, registers);
        by_thread_pointer_.emplace(registers.thread_pointer().value, tid);
    }
    void copy(std::span<const cpython::ThreadState> states) { copies_.copy(states); }

    // --- after it

    /// What was copied of a thread; null: it was not stopped.
    const merge::StackCopies::Thread* copied(std::int32_t tid) const { return copies_.find(tid); }
    /// The thread with this pthread_t, which is its thread pointer, if it was stopped.
    std::optional<std::int32_t> tid_of(std::uint64_t python_thread_id) const {
        const auto known = by_thread_pointer_.find(python_thread_id);
        return known != by_thread_pointer_.end() ? std::optional(known->second) : std::nullopt;
    }

    /// One thread state that runs on the thread.
    struct State {
        RemoteAddr address;                         ///< Of the thread state.
        std::span<const cpython::RawFrame> frames;  ///< Innermost first.
        std::optional<model::FrameId> task;         ///< Stands below the outermost coroutine.
        std::int64_t interpreter_id = 0;
    };
    struct Interned {
        model::StackId stack = 0;
        bool is_whole = true;  ///< Nothing is missing, and each Python frame has its place.
    };
    /// The merged stack of the thread with these states, the innermost first, as a row of the
    /// interner's table.
    Interned intern(std::int32_t tid, std::span<const State> states);

    /// Once a sample: looks for what the last one did not know.
    void catch_up(std::span<const RemoteAddr> interpreters, std::uint64_t now_ns);

    /// The tables were renewed.
    void forget_rows() {
        runs_.clear();
        gaps_.clear();
    }

  private:
    NativeSampling(const target::Target& target, const cpython::Runtime& runtime,
                   std::unique_ptr<unwind::NativeUnwinder> unwinder, merge::NativeOptions options,
                   FrameInterner& interner);

    struct Run {
        std::vector<std::uint64_t> key;
        bool operator==(const Run&) const = default;
    };
    struct RunHash {
        std::size_t operator()(const Run& run) const noexcept;
    };

    void update_names(std::span<const RemoteAddr> interpreters, std::uint64_t now_ns);
    const std::vector<model::FrameId>& frames_of(const merge::ThreadStack& stack,
                                                 std::span<const merge::MergedFrame> run,
                                                 bool starts);
    model::FrameId gap(const merge::ThreadStack& stack, const merge::MergedFrame& frame);
    std::string module_of(RemoteAddr address) const;

    const target::Target& target_;
    const cpython::Runtime& runtime_;
    merge::NativeOptions options_;
    FrameInterner& interner_;
    std::unique_ptr<unwind::NativeUnwinder> unwinder_;
    merge::NativeNames names_;
    merge::StackCopies copies_;
    Pace mappings_pace_;
    std::unordered_map<std::uint64_t, std::int32_t> by_thread_pointer_;
    std::unordered_map<Run, std::vector<model::FrameId>, RunHash> runs_;
    std::unordered_map<std::string, model::FrameId> gaps_;  // By their reasons.
    // Names are read again when modules were imported, but not for each one of them.
    std::uint64_t named_modules_ = 0;
    std::uint64_t name_at_ns_ = 0;
    std::future<cpython::FunctionNames> next_names_;  ///< Read by another thread.
};

}  // namespace pystack::sampling
