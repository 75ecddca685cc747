#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/work_limits.h"
#include "model/snapshot.h"
#include "snapshot/locals_capture.h"
#include "snapshot/native_capture.h"

namespace pystack::snapshot {

struct CaptureOptions {
    bool stop = true;  ///< Stop the target while it is read; otherwise prove each stack.
    bool exhaustive =
        false;  ///< Search all writable memory for the interpreter when it is nowhere else.
    std::size_t max_depth = 1'000'000;             ///< Frames of one thread.
    bool tasks = true;                             ///< The asyncio tasks, too.
    std::optional<LocalsOptions> locals{};         ///< Variables too; only of a stopped target.
    std::optional<merge::NativeOptions> native{};  ///< Native frames too; only of a stopped target.
    /// What to read if there is no interpreter: the native stacks of all threads. Not given: that
    /// is an error.
    std::optional<merge::NativeOptions> native_without_python{};
    /// Run before other processes while the target waits, where the caller's own priority is the
    /// ordinary one and the kernel allows it.
    bool raise_priority = true;
    /// What the reading may keep; past it, things are left out and `problems` says so. Cancelling
    /// them ends the reading with kCancelled.
    std::shared_ptr<WorkLimits> limits = std::make_shared<WorkLimits>();
};

/// Reads every thread of a live process once. A thread that cannot be read is in the snapshot with
/// what is known of it; an Error means that nothing could be read at all. Without an interpreter
/// the snapshot has no version, and its first problem says why.
///
/// The target is read on a thread of its own: if one of its threads cannot be let go (it sleeps in
/// the kernel and does not answer), the end of ours makes the kernel do it. Names are looked up by
/// the caller's thread, after that.
Result<model::Snapshot> capture_live(int pid, const CaptureOptions& options);

struct CoreOptions {
    std::optional<std::string> original;  ///< Compressed, that the core was unpacked from.
    std::optional<std::string>
        executable;  ///< The program's file, where the core's own word does not do.
    std::vector<std::string> library_folders;  ///< Searched for the mapped files, by base name.
    std::optional<std::string> library_root;   ///< Searched recursively.
    bool exhaustive = false;
    std::size_t max_depth = 1'000'000;
    bool tasks = true;
    std::optional<LocalsOptions> locals{};
    std::optional<merge::NativeOptions> native{};
    std::optional<merge::NativeOptions> native_without_python{};          ///< As in CaptureOptions.
    std::shared_ptr<WorkLimits> limits = std::make_shared<WorkLimits>();  ///< As in CaptureOptions.
};

/// Reads every thread of a dead process from its core file. What the core lacks is in the
/// snapshot's problems; an Error means that no interpreter could be found in it.
Result<model::Snapshot> capture_core(const std::string& path, const CoreOptions& options);

}  // namespace pystack::snapshot
