#pragma once

#include <optional>
#include <vector>

#include "arch/registers.h"
#include "cpython/sync/sync_readers.h"
#include "memory/memory_reader.h"
#include "snapshot/future_workers.h"
#include "snapshot/lock_holders.h"
#include "snapshot/raw_snapshot.h"

namespace pystack::snapshot {

/// Finds out what the threads of a reading wait for, and which threads hold the locks among that. A
/// live target is read as its variables are (LocalsCapture):
///
///     waits.rehearse(raw);   // runs: now it is known which memory is needed
///     waits.copy(raw);       // stopped
///     waits.find(raw);       // runs again; reads the copy alone
///
/// What was not copied stays unknown. A core, or a target of which is known otherwise that its
/// threads have not moved, is read by read() alone.
class WaitsCapture {
  public:
    WaitsCapture(const memory::MemoryReader& memory, const cpython::Layout& layout,
                 cpython::CodeReader& codes);

    void rehearse(RawSnapshot& raw);
    void copy(RawSnapshot& raw);
    void find(RawSnapshot& raw);
    void read(RawSnapshot& raw);

  private:
    void load_codes(const RawSnapshot& raw);
    void find_all(RawSnapshot& raw, cpython::NewCode new_code);
    std::optional<RawWait> find_wait(const RawSnapshot& raw, const RawThread& thread);
    arch::Syscall original(const RawSnapshot& raw, const RawThread& thread) const;

    const memory::MemoryReader& memory_;
    cpython::SyncReaders readers_;
    LockHolders holders_;
    FutureWorkers workers_;
    std::vector<cpython::RawFrame> generators_;  ///< Of the rehearsal.
};

}  // namespace pystack::snapshot
