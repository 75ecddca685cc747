#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "sampling/program_readers.h"
#include "sampling/proved_tasks.h"
#include "sampling/task_rows.h"
#include "sampling/thread_table.h"
#include "sampling/tick.h"
#include "sampling/wait_interner.h"
#include "sampling/work_share.h"

namespace pystack::sampling {

/// Samples of all tasks that are not done: where each of them awaits, and what. To read them takes
/// longer than to read a thread, so it may take a share of the time: samples of tasks are as many
/// as that allows, and each speaks for the time since the one before. Tasks move only while the
/// thread of their loop runs, so while no such thread runs, the samples are repeated unread.
class TaskSampling {
  public:
    /// All must outlive it.
    TaskSampling(const ProgramReaders& program, ThreadTable& threads, WaitInterner& waits,
                 const BatchWriter& writer);

    /// The target runs another program.
    void begin_program();
    /// The recording begins at `now_ns`.
    void begin(std::uint64_t now_ns) { previous_ns_ = now_ns; }
    /// After the samples of the threads.
    void sample(const Tick& tick);
    /// No row of the tables means anything any more.
    void forget_rows();

  private:
    /// How long the threads of the loops have run. nullopt: one of them runs, or is not known.
    using RunTimes = std::optional<std::vector<std::uint64_t>>;

    RunTimes run_times() const;
    void read(const Tick& tick);
    TaskRows::Owner owner_of(const cpython::RawTask& task) const;
    model::StackId stack_of(const cpython::RawTask& task);
    model::WaitId wait_of(const cpython::RawTask& task);

    const ProgramReaders& program_;
    const ThreadTable& threads_;
    WaitInterner& waits_;
    ProvedTasks tasks_;
    TaskRows rows_;
    WorkShare share_;
    bool has_read_ = false;          ///< Of this program.
    std::uint64_t previous_ns_ = 0;  ///< Until then the last tick spoke.
    std::uint64_t unsaid_ns_ = 0;    ///< Since the last samples.
    // Of the last reading:
    std::vector<cpython::RawEventLoop> loops_;
    std::uint64_t table_changes_ = 0;  ///< ThreadTable::changes(), by which loops_ numbers threads.
    RunTimes rested_;                  ///< Before and after it.
};

}  // namespace pystack::sampling
