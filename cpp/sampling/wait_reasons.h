#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "base/pace.h"
#include "cpython/sync/sync_readers.h"
#include "cpython/sync/wait_finder.h"
#include "sampling/lock_watch.h"
#include "sampling/program_readers.h"
#include "sampling/thread_table.h"
#include "sampling/wait_interner.h"
#include "sampling/work_share.h"
#include "waits/descriptor_names.h"

namespace pystack::sampling {

/// What threads wait for, at each of their samples. A reason is read once, and stays as long as its
/// thread has not run; only who holds a lock is asked at each sample. Reading takes a small share
/// of the time: until its turn comes, a reason is not known.
class WaitReasons {
  public:
    /// All must outlive it.
    WaitReasons(const ProgramReaders& program, const ThreadTable& threads, WaitInterner& interner);

    /// The program, or its code objects, are read anew.
    void use_codes();

    void begin_tick(std::uint64_t now_ns);
    /// After ThreadActivity::bits, while the thread is not stopped. `index`: its place in the
    /// table; `moved`: its stack is another than at the last sample.
    void follow(std::size_t index, std::uint8_t bits, bool moved);
    /// What the thread waits for whose sample has this innermost frame; null: it has no frames.
    model::WaitId find(std::size_t index, const cpython::RawFrame* innermost);
    /// After all samples: what would hold them up.
    void end_tick();

    /// The table of the interner is empty again. What threads wait for stays known.
    void forget_rows();

  private:
    void check_call(TrackedThread& thread, std::uint8_t bits);
    bool waits_for_the_same(const Waiting& waiting) const;
    bool is_turn_of(std::size_t index);
    void read(std::size_t index);
    std::optional<Waiting::Reason> read_reason(std::size_t index, const arch::Syscall& call);
    std::int64_t original(std::size_t index, RemoteAddr pc) const;
    void name_descriptor(int fd, Waiting::Reason& reason);
    std::uint32_t holder(std::size_t index);

    const ProgramReaders& program_;
    const ThreadTable& threads_;
    WaitInterner& interner_;
    WorkShare share_;
    LockWatch locks_;
    waits::DescriptorNames names_;
    Pace names_pace_;
    std::uint64_t name_looks_ = 0;
    std::unique_ptr<cpython::SyncReaders> readers_;
    std::uint64_t renew_types_at_ns_ = 0;
    /// The first thread that had to wait for its turn in this tick, and in the one before: reading
    /// goes on with that.
    std::optional<std::size_t> refused_;
    std::size_t turn_ = 0;
    std::vector<cpython::RawFrame> frames_;
};

}  // namespace pystack::sampling
