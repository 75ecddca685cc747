#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <unordered_map>
#include <vector>

#include "arch/registers.h"
#include "cpython/sync/sync_readers.h"
#include "sampling/program_readers.h"
#include "sampling/thread_table.h"
#include "sampling/work_share.h"

namespace pystack::sampling {

/// Who holds the locks that threads wait for, at each tick: a lock can go from hand to hand while
/// others wait for it. Threads are named by their numbers plus 1; 0: nobody is known to hold it.
class LockWatch {
  public:
    /// All must outlive it. `share`: of the time that looking for with blocks may take.
    LockWatch(const ProgramReaders& program, const ThreadTable& threads, WorkShare& share)
        : program_(program), threads_(threads), share_(share) {}

    /// What reads the program from now on.
    void use(cpython::SyncReaders& readers) { readers_ = &readers; }
    void begin_tick();
    /// A thread has a sample. `moved`: its stack is another than at the last one.
    void follow(Waiting& waiting, bool moved) const;

    /// `waiter`: the place in the table of a thread that waits for the lock.
    std::uint32_t holder(const cpython::FoundLock& lock, std::size_t waiter);
    /// The same of the lock of a module that is imported.
    std::uint32_t import_holder(RemoteAddr lock, std::size_t waiter);
    /// The owner of the pthread mutex that the call waits for, or the thread that it joins.
    std::uint32_t native_holder(const arch::Syscall& call) const;
    /// The thread with this Thread.ident, first of all one of the waiter's interpreter.
    std::uint32_t with_ident(std::uint64_t ident, std::size_t waiter) const;
    /// The place in the table of the thread with this tid in its own pid namespace.
    std::optional<std::size_t> with_own_tid(std::int32_t tid) const;

  private:
    std::uint32_t find_holder(const cpython::FoundLock& lock, std::size_t waiter);
    std::uint32_t block_holder(RemoteAddr lock);
    void find_blocks();
    void read_blocks(std::size_t thread);

    const ProgramReaders& program_;
    const ThreadTable& threads_;
    WorkShare& share_;
    cpython::SyncReaders* readers_ = nullptr;
    std::uint64_t tick_ = 1;
    // Of this tick; found at the first question.
    std::unordered_map<RemoteAddr, std::uint32_t> holders_;  ///< By lock: many wait for few.
    bool are_blocks_found_ = false;
    bool are_blocks_complete_ = false;
    /// By lock: who is inside of a with block of it; 0: several are.
    std::unordered_map<RemoteAddr, std::uint32_t> block_holders_;
    std::vector<cpython::RawFrame> before_;
    std::vector<cpython::RawFrame> after_;
};

}  // namespace pystack::sampling
