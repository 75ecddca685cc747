#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "arch/registers.h"
#include "base/address.h"
#include "cpython/frames/frame_format.h"
#include "cpython/sync/lock_finder.h"
#include "model/tables.h"
#include "model/wait.h"
#include "process/open_proc_file.h"

namespace pystack::sampling {

/// What is known of one thread's wait between its samples; written by WaitReasons.
struct Waiting {
    /// A reason, as far as the thread's own stack tells it.
    struct Reason {
        model::WaitKind kind = model::WaitKind::kFutex;
        std::string type{};
        std::string name{};
        std::optional<cpython::FoundLock> lock{};  ///< Its holder may be another at each sample.
        std::optional<std::uint64_t> ident{};      ///< Python's id of the thread it waits for.
        RemoteAddr import_lock{};                  ///< Who imports may be another one soon.
        /// The socket had no name yet: this is the number of DescriptorNames' looks then.
        std::optional<std::uint64_t> unnamed_at{};
    };

    /// Of the last sample. Looked at for each sample of a thread that sleeps, so it comes first.
    model::WaitId id = 0;
    bool is_settled = false;  ///< It stays as long as the thread does not run: nobody can hold it.

    process::OpenProcFile run_time{"schedstat"};
    std::uint64_t looks = 0;  ///< ThreadActivity::looks() when this was checked.
    /// The call that it has been blocked in, and its run time there; nullopt: it was seen to run.
    std::optional<arch::Syscall> call;
    std::uint64_t run_ns = 0;
    bool is_read = false;  ///< Whether the reason was looked for.
    std::optional<Reason> reason;
    std::optional<cpython::RawFrame> innermost;  ///< Of the stack that waits.
    std::uint32_t holder = 0;                    ///< Of the last sample.

    // Written by LockWatch: the plain locks that its with blocks hold.
    std::vector<RemoteAddr> held;
    bool is_held_known = false;
    std::uint64_t followed = 0;  ///< The tick of its last sample.

    void forget() {
        call.reset();
        is_read = false;
        reason.reset();
        innermost.reset();
        id = 0;
        is_settled = false;
    }
};

}  // namespace pystack::sampling
