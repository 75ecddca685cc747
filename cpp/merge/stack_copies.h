#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <unordered_map>
#include <vector>

#include "arch/registers.h"
#include "base/result.h"
#include "cpython/layout/layout.h"
#include "cpython/runtime/interpreter_walker.h"
#include "elf/module_map.h"
#include "target/target.h"
#include "unwind/stack_bytes.h"

namespace pystack::merge {

/// How much of native stacks is copied while the target waits.
struct StackCopyLimits {
    std::uint64_t one = 64 << 20;   ///< Stacks are 8 MiB as a rule.
    std::uint64_t all = 256 << 20;  ///< Of all threads.
};

/// What of native stacks has to be copied while a target stands still: the registers of its
/// threads, and the part of their stacks that is in use.
class StackCopies {
  public:
    struct Thread {
        arch::Registers registers;
        RemoteAddr begin;                    ///< Where `bytes` are from.
        std::span<const std::byte> bytes{};  ///< Ours; until the next copy().
    };

    /// Both must outlive it.
    StackCopies(const target::Target& target, const cpython::Layout& layout,
                StackCopyLimits limits);

    /// Finds out where stacks end. Not to be called while the target is stopped.
    Result<void> update_mappings();

    void add_thread(std::int32_t tid, const arch::Registers& registers);
    /// The stacks of all threads that were added, and what the thread states know of them.
    void copy(std::span<const cpython::ThreadState> states);
    void clear();

    /// Null: it was not added.
    const Thread* find(std::int32_t tid) const;
    /// The copied stack of a thread; nothing can be read of one that was not added.
    static unwind::StackBytes memory_of(const Thread* thread) {
        if (thread == nullptr) return {{}, {}};
        return {thread->begin, thread->bytes};
    }
    /// Of 3.11 and 3.12: the C frame of the innermost activation; null where there is none.
    RemoteAddr c_frame(RemoteAddr thread_state) const;
    void set_c_frame(RemoteAddr thread_state, RemoteAddr c_frame);
    /// copy() was called since clear(). A core's stacks need no copies.
    bool copied() const { return copied_; }
    /// A stack was copied of which the mappings do not tell the end.
    bool met_unknown_stack() const { return met_unknown_stack_; }

  private:
    std::uint64_t stack_size(const arch::Registers& registers);

    const target::Target& target_;
    const cpython::Layout& layout_;
    const StackCopyLimits limits_;
    std::vector<RemoteRange> mappings_;                    // By rising address.
    std::unordered_map<std::int32_t, Thread> threads_;     // By tid.
    std::unordered_map<RemoteAddr, RemoteAddr> c_frames_;  // By thread state.
    std::unique_ptr<std::byte[]> buffer_;
    std::vector<memory::ReadRequest> requests_;
    std::vector<Thread*> owners_;
    bool copied_ = false;
    bool met_unknown_stack_ = false;
};

}  // namespace pystack::merge
