#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "cpython/layout/layout.h"
#include "memory/read_batch.h"
#include "sampling/program_readers.h"
#include "sampling/thread_prover.h"
#include "sampling/thread_table.h"

namespace pystack::sampling {

/// What a tick reads of a running target in one batch: the links of the lists of interpreters and
/// threads, their GILs, each thread state, the stacks of the threads that did not move of late, the
/// proof of one that did, and the code objects in use.
class TickReader {
  public:
    /// Both must outlive it.
    TickReader(const ProgramReaders& program, ThreadTable& threads)
        : program_(program), threads_(threads) {}

    /// Reads it, until it is of the threads that there are; updates the table of threads.
    void read(const Tick& tick);

    /// What was read. `holds` is false when the lists changed each time.
    ThreadProver::TickBatch batch() const {
        return {.batch = batch_, .holds = holds_, .timing = timing_};
    }
    /// A word of the thread's state; nullopt where that was not read.
    std::optional<std::int32_t> thread_flag(std::size_t thread, cpython::FieldOffset field) const;

    /// The thread to prove in the next batch.
    void prove_next(std::size_t thread) { proved_thread_ = thread; }

  private:
    void plan();
    void ask(std::size_t thread, TrackedThread::Asked what);

    const ProgramReaders& program_;
    ThreadTable& threads_;
    memory::ReadBatch batch_;
    bool holds_ = false;
    memory::ReadTiming timing_ = memory::ReadTiming::kInterrupted;
    std::vector<std::size_t> thread_pieces_;  ///< Per thread, the piece that is its thread state.
    std::size_t proved_thread_ = 0;
};

}  // namespace pystack::sampling
