#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "arch/registers.h"
#include "cpython/sync/frame_objects.h"
#include "cpython/sync/lock_finder.h"
#include "memory/page_cache.h"
#include "model/wait.h"
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
    void find_all(RawSnapshot& raw);
    std::optional<RawWait> find_wait(const RawSnapshot& raw, const RawThread& thread);
    arch::Syscall original(const RawSnapshot& raw, const RawThread& thread) const;
    void find_lock(const RawSnapshot& raw, const RawThread& thread, RemoteAddr futex,
                   RawWait& wait);
    void find_object(const RawSnapshot& raw, const RawThread& thread, RemoteAddr futex,
                     RawWait& wait);
    void find_mutex(const RawSnapshot& raw, const arch::Syscall& call, RawWait& wait);
    void find_site(const RawSnapshot& raw, const RawThread& thread, RawWait& wait);
    void find_target(RemoteAddr object, RawWait& wait);
    void find_pool(const RawSnapshot& raw, const RawThread& thread, RawWait& wait);
    void find_name(const RawSnapshot& raw, const RawThread& thread, RawWait& wait);
    std::vector<RemoteAddr> innermost_objects(const RawSnapshot& raw,
                                              const RawThread& thread) const;
    std::optional<std::uint64_t> identifier(RemoteAddr object, std::string_view attribute);
    std::string text(RemoteAddr object, std::string_view attribute);

    const memory::MemoryReader& memory_;
    const cpython::Layout layout_;
    cpython::CodeReader& codes_;
    memory::PageCache pages_;
    cpython::TypeCache types_;
    cpython::LockFinder locks_;
    cpython::FrameObjects objects_;
    LockHolders holders_;
    FutureWorkers workers_;
};

}  // namespace pystack::snapshot
