#pragma once

#include <cstddef>
#include <cstdint>

#include "model/sample.h"
#include "sampling/frame_interner.h"
#include "sampling/thread_identities.h"
#include "sampling/tick.h"
#include "sampling/tracked_thread.h"

namespace pystack::sampling {

/// Writes samples as rows of batches, and counts what became of each. A sample weighs the time
/// from where the last attempt on its thread ended (Tick::until_ns), so a lost one leaves a gap,
/// and so does a time without ticks (Tick::most_weight_ns).
class BatchWriter {
  public:
    /// A sample with this stack. `state`: model::SampleState bits; `wait`: what the thread waits
    /// for.
    void add(const Tick& tick, TrackedThread& thread, model::StackId stack, std::uint8_t state,
             model::WaitId wait = 0) const;
    /// A sample until now of this weight, which is not counted. `thread`: its number.
    void add_row(const Tick& tick, std::uint64_t weight, std::uint32_t thread, RowPlace& place,
                 model::StackId stack, std::uint8_t state, model::WaitId wait) const;
    /// A sample that failed. `count` is the one of the tick's counts that says why.
    void lose(const Tick& tick, TrackedThread& thread, std::uint64_t& count) const;

    /// Moves the table rows that are new since the last call into `batch`, which is then handed
    /// over: the next sample needs another.
    void add_new_rows(model::Batch& batch, const FrameInterner& tables,
                      const model::WaitTable& waits, ThreadIdentities& identities);
    /// The tables are empty again; all of their rows were handed over.
    void begin_tables() { strings_ = frames_ = stacks_ = waits_ = 0; }

  private:
    std::uint64_t batch_number_ = 1;
    // How many rows were handed over.
    std::size_t strings_ = 0;
    std::size_t frames_ = 0;
    std::size_t stacks_ = 0;
    std::size_t waits_ = 0;
};

}  // namespace pystack::sampling
