#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <random>
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
/// longer than to read a thread, so it may take a share of the time. That divides the time into
/// stretches, each as long as the work before it must be paid for. A stretch has one look at an
/// instant of it that does not depend on what the program does then, and the samples speak for all
/// of it: else short waits, which are over before reading is allowed, would be missed more often
/// than long ones. Tasks move only while the thread of their loop runs: while none has run since
/// the last reading, a look needs no reading, and the next one comes at once.
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

    void begin_stretch(std::uint64_t begin_ns);
    void look();
    RunTimes run_times() const;
    void read();
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
    std::uint64_t unsaid_ns_ = 0;    ///< Of the stretch, until then.
    std::minstd_rand random_;
    std::uint64_t end_ns_ = 0;      ///< Of the stretch.
    std::uint64_t look_at_ns_ = 0;  ///< An instant of it.
    bool is_looked_ = false;        ///< In it.
    // Of the last reading:
    std::vector<cpython::RawEventLoop> loops_;
    std::uint64_t table_changes_ = 0;  ///< ThreadTable::changes(), by which loops_ numbers threads.
    RunTimes rested_;                  ///< Before and after it.
};

}  // namespace pystack::sampling
